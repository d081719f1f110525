"""change_external_chat: customer groups. Whatever a callback says, the group is read from WeCom and stored as it is.

Its detail (add_member, del_member, change_owner, change_name, change_notice, or one that is not known yet) says only
why; MemChangeList is not gone by, because callbacks may be missing and out of order.
"""

from wxwork import groups
from wxwork.handlers import handles
from wxwork.messages import Message, MessageError


@handles("change_external_chat", "create", "update")
def changed(message: Message) -> None:
    """Read a group anew."""
    groups.refresh(_chat_id(message), at=message.created_at, before=message.text("LastMemVer"))


@handles("change_external_chat", "dismiss")
def dismissed(message: Message) -> None:
    """Read a group anew: WeCom should say that it is no more."""
    groups.refresh(_chat_id(message), at=message.created_at, is_dissolved=True)


def _chat_id(message: Message) -> str:
    chat_id = message.text("ChatId")
    if not chat_id:
        raise MessageError("It names no group.")
    return chat_id
