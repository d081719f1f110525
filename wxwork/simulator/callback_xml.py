"""The XML of callbacks, in the form of the real ones: strings in CDATA, integers bare, lists as <Item>s.

>>> print(element("MemChangeList", ["a", "b"]))
<MemChangeList><Item><![CDATA[a]]></Item><Item><![CDATA[b]]></Item></MemChangeList>
"""

from collections.abc import Mapping
from typing import Any


def element(name: str, value: Any) -> str:
    """Return one element. value: str, int, list of str, or a mapping."""
    if isinstance(value, bool) or not isinstance(value, str | int | list | tuple | dict):
        raise TypeError(f"{name} has no form in XML: {value!r}")
    if isinstance(value, int):
        inner = str(value)
    elif isinstance(value, str):
        inner = _cdata(value)
    elif isinstance(value, dict):
        inner = "".join(element(key, one) for key, one in value.items())
    else:
        inner = "".join(element("Item", one) for one in value)
    return f"<{name}>{inner}</{name}>"


def _cdata(text: str) -> str:
    return "<![CDATA[" + text.replace("]]>", "]]]]><![CDATA[>") + "]]>"


def message_xml(corp_id: str, create_time: int, event: str, change_type: str, fields: Mapping[str, Any]) -> str:
    """Return the decrypted XML of a callback. fields in the order of the contract."""
    envelope = {
        "ToUserName": corp_id,
        "FromUserName": fields.get("FromUserName", "sys"),
        "CreateTime": create_time,
        "MsgType": "event",
        "Event": event,
        **({"ChangeType": change_type} if change_type else {}),
        **{name: value for name, value in fields.items() if name != "FromUserName"},
    }
    return "<xml>" + "".join(element(name, value) for name, value in envelope.items()) + "</xml>"
