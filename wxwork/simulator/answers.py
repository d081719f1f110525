"""What a refused call looks like: HTTP 200, errcode, errmsg, and the endpoint's empty lists (contract §0).

    {"errcode": 40013, "errmsg": "invalid corpid, hint: [1790035200000000001], from ip: 127.0.0.1, more info at
     https://open.work.weixin.qq.com/devtool/query?e=40013"}
    {"errcode": 84061, "errmsg": "not external contact", "external_userid": []}

Some endpoints leave the hint out; which of them is in their declaration. Texts are the probed ones where there was a
probe, else ours: nobody may test them.
"""

import itertools
from typing import Any

_hints = itertools.count(1)

TEXTS = {
    -1: "system error",
    6000: "data version conflict",
    40001: "invalid credential",
    40003: "invalid userid",
    40004: "invalid media type",
    40005: "invalid type",
    40006: "invalid media size",
    40007: "invalid media_id",
    40008: "invalid message type",
    40013: "invalid corpid",
    40014: "invalid access_token",
    40029: "invalid code",
    40031: "invalid userid list",
    40033: "invalid request character",
    40035: "invalid parameter",
    40056: "invalid agentid",
    40058: "invalid Request Parameter",
    40063: "some parameters are empty",
    40068: "invalid tagid",
    40070: "invalid tag member",
    40071: "tag name already exists",
    40073: "invalid openid",
    40096: "invalid external userid",
    40097: "the handover user is not resigned",
    40098: "takeover user is not verified",
    40099: "takeover user's customers exceed the limit",
    40100: "customer is being transferred",
    40128: "customer transferred too often",
    41001: "access_token missing",
    41002: "corpid missing",
    41004: "corpsecret missing",
    41009: "userid missing",
    41017: "tagid missing",
    41035: "external_userid missing",
    41037: "missing type",
    41038: "missing scene",
    41039: "invalid type",
    41040: "invalid scene",
    41041: "contact way users exceed the limit",
    41042: "invalid style",
    41043: "missing config_id",
    41044: "invalid config_id",
    41045: "contact way quota reached",
    41046: "missing msgid",
    41047: "invalid msgid",
    41048: "no customer to send to",
    41049: "missing welcome_code",
    41050: "invalid welcome_code",
    41051: "welcome message already sent",
    41054: "user is not activated",
    41055: "group welcome template quota reached",
    41057: "no wechat developer account bound",
    41058: "not the owner of the template",
    41063: "group message is being dispatched",
    41064: "too many attachments",
    41065: "invalid attachment type",
    41091: "too many chats of a join way",
    41093: "group message already cancelled",
    41094: "remind too often",
    41095: "acquisition link quota reached",
    41096: "welcome message is being sent",
    42001: "access_token expired",
    42003: "code expired",
    44001: "empty media data",
    44004: "empty content",
    45001: "media size out of limit",
    45002: "content size out of limit",
    45008: "article count out of limit",
    45009: "api freq out of limit",
    45029: "response data too large",
    45033: "api concurrent out of limit",
    45035: "concurrent write conflict",
    46004: "user not exist",
    48002: "api forbidden",
    49008: "chat dismissed",
    50001: "redirect_uri unauthorized",
    60003: "department not found",
    60011: "no privilege to access/modify contact/party/agent",
    60020: "not allow to access from your ip",
    60111: "userid not found",
    81011: "no permission to edit the tag",
    81013: "user & party & tag all invalid",
    81014: "too many users of a tag call",
    81017: "too many results",
    82001: "user & party & tag all empty",
    84014: "user_ticket expired",
    84015: "invalid user_ticket",
    84061: "not external contact",
    84074: "no external contact permission",
    90500: "the owner of this chat is not resigned",
    90501: "chat is not external group chat",
    90502: "the owner of this chat is resigned",
    90504: "new owner is the owner",
    90507: "chat is being inherited",
    90508: "chat is inherited already",
    90509: "not a customer group",
    90511: "invalid opengid",
    301002: "not allow operate another agent with this accesstoken",
    701008: "no license",
}


class Refused(Exception):  # noqa: N818 - an answer, not a fault of ours
    """A call that WeCom refuses, with its errcode and what this answer carries beside it."""

    def __init__(self, code: int, text: str = "", **extra: Any) -> None:
        super().__init__(f"{code} {text or TEXTS.get(code, '')}")
        self.code = code
        self.text = text or TEXTS.get(code, "error")
        self.extra = extra


def failure(code: int, text: str, ip: str, *, extra: dict[str, Any], has_hint: bool, now: int) -> dict[str, Any]:
    """Return the body of a refused call."""
    if has_hint:
        hint = f"{now}{next(_hints):09}"
        text += f", hint: [{hint}], from ip: {ip}, more info at https://open.work.weixin.qq.com/devtool/query?e={code}"
    return {"errcode": code, "errmsg": text, **extra}
