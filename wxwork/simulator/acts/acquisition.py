"""Acquisition links (获客助手) and what customers do with them. A customer comes by one with add_customer, link_id=…"""

from typing import Any

from wxwork.simulator.acts.registry import ActError, Doing, act

EVENT = "customer_acquisition"
CHAT_KEY_SECONDS = 1800
# ChangeTypes that carry nothing, or only what the caller gives.
PLAIN = {"balance_low", "balance_exhausted", "balance_increased", "quota_expire_soon"}
OF_A_LINK = {"link_unavailable", "delete_link", "open_profile", "friend_request"}


@act
def acquisition_link(doing: Doing, *, name: str = "秋季投放", userids: list[str] | None = None) -> dict[str, Any]:
    """An administrator makes a link in the console. WeCom tells nobody."""
    members = [doing.staff(userid).userid for userid in userids or []]
    link_id = doing.state.new_id("caw", 15)
    doing.state.links[link_id] = {
        "link_id": link_id,
        "link_name": name,
        "url": f"https://work.weixin.qq.com/ca/{link_id}",
        "create_time": doing.now,
        "owner": 0,
        "customers": [],
        "skip_verify": True,
        "mark_source": True,
        "range": {"user_list": members, "department_list": []},
        "priority_option": {},
    }
    return {"link_id": link_id}


@act
def acquisition_callback(
    doing: Doing,
    *,
    change_type: str,
    link_id: str = "",
    state: str = "",
    expire_time: int = 0,
    expire_quota: int = 0,
) -> dict[str, Any]:
    """Tell of balance_low, balance_exhausted, balance_increased, quota_expire_soon, link_unavailable, delete_link,
    open_profile or friend_request. delete_link deletes."""
    if change_type not in PLAIN | OF_A_LINK:
        raise ActError(f"change_type is one of {', '.join(sorted(PLAIN | OF_A_LINK))}.")
    if change_type in OF_A_LINK and link_id not in doing.state.links:
        raise ActError(f"No acquisition link {link_id!r}.")
    if change_type == "delete_link":
        del doing.state.links[link_id]
    is_expiry = change_type == "quota_expire_soon"
    doing.tell(
        EVENT,
        change_type,
        LinkId=link_id or None,
        State=state if change_type in ("open_profile", "friend_request") else None,
        ExpireTime=(expire_time or doing.now + 7 * 86_400) if is_expiry else None,
        ExpireQuotaNum=expire_quota if is_expiry else None,
    )
    return {}


@act
def customer_writes(
    doing: Doing, *, link_id: str, external_userid: str, userid: str, messages: int = 1
) -> dict[str, Any]:
    """An acquired customer writes: the first message is told with names, later ones with a chat key of 30 minutes."""
    customer, staff = doing.customer(external_userid), doing.staff(userid)
    if link_id not in doing.state.links:
        raise ActError(f"No acquisition link {link_id!r}.")
    if messages < 1:
        raise ActError("messages is at least 1.")
    if messages == 1:
        doing.tell(
            EVENT,
            "customer_start_chat",
            UserID=staff.userid,
            ExternalUserID=customer.external_userid,
            LinkId=link_id,
        )
        return {}
    chat_key = doing.state.new_id("simChatKey")
    relation = staff.relations.get(external_userid)
    doing.state.chat_keys[chat_key] = {
        "userid": staff.userid,
        "external_userid": external_userid,
        "link_id": link_id,
        "state": relation.state if relation else "",
        "messages": messages,
        "expires_at": doing.now + CHAT_KEY_SECONDS,
    }
    doing.tell(EVENT, "message_from_customer", ChatKey=chat_key, LinkId=link_id)
    return {"chat_key": chat_key}
