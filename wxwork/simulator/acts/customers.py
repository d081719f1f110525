"""What customers and the staff who follow them do."""

import hashlib
from typing import Any

from wxwork.simulator.acts.registry import ActError, Doing, act
from wxwork.simulator.company import name_of
from wxwork.simulator.state import DELETED_BY_CUSTOMER, FULL, HALF, Customer, Relation, Staff, WelcomeCode

WELCOME_SECONDS = 20
EVENT = "change_external_contact"


def _pick_staff(doing: Doing, userid: str) -> Staff:
    """Return the named member, or any that has 客户联系."""
    if userid:
        staff = doing.staff(userid)
        if not staff.has_customer_contact:
            raise ActError(f"{userid} has no 客户联系.")
        return staff
    if not (members := doing.state.serving_staff()):
        raise ActError("Nobody has 客户联系 and is visible.")
    return doing.state.random.choice(members)


def relation_of(doing: Doing, external_userid: str, userid: str) -> tuple[Staff, Relation]:
    """Return a relation that is there. Raises ActError."""
    doing.customer(external_userid)
    staff = doing.staff(userid)
    relation = staff.relations.get(external_userid)
    if relation is None:
        raise ActError(f"{userid} does not follow {external_userid}.")
    return staff, relation


def _next_createtime(doing: Doing, old: Relation | None) -> int:
    """Return when a relation begins: now, and after the one it follows, though it be in the same second."""
    return max(doing.now, old.createtime + 1 if old else 0)


def _kept_notes(old: Relation | None) -> dict[str, Any]:
    """Return what the member has noted on a customer who had removed them."""
    names = ("remark", "description", "mobiles", "corp_name", "tag_ids", "personal_tags")
    return {name: getattr(old, name) for name in names} if old else {}


def _mint_welcome(doing: Doing, staff: Staff, external_userid: str) -> str:
    code = f"CODE{doing.state.new_id('w', 40)}"
    doing.state.welcome_codes[code] = WelcomeCode(
        staff.userid, external_userid, doing.corp.clock.now() + WELCOME_SECONDS
    )
    return code


def _new_customer(doing: Doing, external_userid: str, name: str, kind: int, gender: int) -> Customer:
    state = doing.state
    if not external_userid:
        digest = hashlib.sha256(state.new_id("customer").encode()).hexdigest()
        external_userid = ("wo" if kind == 2 else "wm") + digest[:30]
    customer = Customer(external_userid, name or name_of(state.random), kind, gender)
    if kind == 2:
        customer.corp_name, customer.position = "苏州木石民宿", "采购经理"
    state.customers[external_userid] = customer
    return customer


@act
def add_customer(
    doing: Doing,
    *,
    staff: str = "",
    external_userid: str = "",
    name: str = "",
    type: int = 1,
    gender: int = 0,
    state: str = "",
    config_id: str = "",
    link_id: str = "",
    add_way: int = 0,
    welcome: bool = True,
    half: bool = False,
) -> dict[str, Any]:
    """Somebody becomes a customer of a member. half: the member has yet to confirm. config_id, link_id: by that way."""
    member = _pick_staff(doing, staff)
    if type not in (1, 2):
        raise ActError("type is 1 (WeChat) or 2 (WeCom).")
    if external_userid in member.relations and member.relations[external_userid].status != DELETED_BY_CUSTOMER:
        raise ActError(f"{member.userid} follows {external_userid} already.")
    if config_id and config_id not in doing.state.contact_ways:
        raise ActError(f"No contact way {config_id!r}.")
    if link_id and link_id not in doing.state.links:
        raise ActError(f"No acquisition link {link_id!r}.")
    if config_id:
        state, add_way = state or doing.state.contact_ways[config_id]["state"], 1
    add_way = 16 if link_id else add_way
    customer = doing.state.customers.get(external_userid) or _new_customer(doing, external_userid, name, type, gender)
    old = member.relations.get(customer.external_userid)
    relation = doing.state.begin_relation(
        member,
        customer,
        status=HALF if half else FULL,
        createtime=_next_createtime(doing, old),
        **_kept_notes(old),
        add_way=add_way or (1 if state else 2),
        state=state,
        oper_userid=customer.external_userid,
    )
    if link_id:
        doing.state.links[link_id]["customers"].append((customer.external_userid, member.userid, state))
    return _told_of_new(doing, member, customer, relation, welcome=welcome, link_id=link_id)


def _told_of_new(
    doing: Doing, member: Staff, customer: Customer, relation: Relation, *, welcome: bool, link_id: str = ""
) -> dict[str, Any]:
    """Tell of a relation that has begun. A WeCom user gets a name card, so there is no code; nor with a console one."""
    code = None
    if welcome and customer.type == 1 and not member.has_console_welcome:
        code = _mint_welcome(doing, member, customer.external_userid)
    if relation.status == FULL:
        doing.state.count_gain(member.userid)
    doing.tell(
        EVENT,
        "add_external_contact" if relation.status == FULL else "add_half_external_contact",
        UserID=member.userid,
        ExternalUserID=customer.external_userid,
        State=relation.state or None,
        WelcomeCode=code,
        LinkId=link_id or None,
    )
    return {
        "external_userid": customer.external_userid,
        "userid": member.userid,
        "welcome_code": code or "",
        "createtime": relation.createtime,
    }


@act
def confirm_customer(doing: Doing, *, external_userid: str, userid: str) -> dict[str, Any]:
    """The member confirms a half-added customer: friends both ways. The code of the first callback may be used up."""
    staff, relation = relation_of(doing, external_userid, userid)
    if relation.status != HALF:
        raise ActError(f"{userid} and {external_userid} are {relation.status}.")
    relation.status = FULL
    doing.state.count_gain(staff.userid)
    used = any(
        code.external_userid == external_userid and code.userid == staff.userid and code.used_by
        for code in doing.state.welcome_codes.values()
    )
    code = None
    if not used and doing.state.customers[external_userid].type == 1 and not staff.has_console_welcome:
        code = _mint_welcome(doing, staff, external_userid)
    doing.tell(
        EVENT,
        "add_external_contact",
        UserID=staff.userid,
        ExternalUserID=external_userid,
        State=relation.state or None,
        WelcomeCode=code,
    )
    return {"welcome_code": code or "", "createtime": relation.createtime}


@act
def edit_customer(
    doing: Doing,
    *,
    external_userid: str,
    userid: str,
    remark: str | None = None,
    description: str | None = None,
    mobiles: list[str] | None = None,
    corp_name: str | None = None,
    tags: list[str] | None = None,
    add_tags: list[str] | None = None,
    remove_tags: list[str] | None = None,
    personal_tags: list[str] | None = None,
) -> dict[str, Any]:
    """The member edits remark, mobiles or tags in the client. tags: ids, replacing; personal_tags: names, replacing."""
    staff, relation = relation_of(doing, external_userid, userid)
    for tag_id in [*(tags or []), *(add_tags or [])]:
        if tag_id not in doing.state.tags or doing.state.tags[tag_id].deleted:
            raise ActError(f"No tag {tag_id!r}.")
    if tags is not None:
        relation.tag_ids = tuple(dict.fromkeys(tags))
    relation.tag_ids = tuple(
        dict.fromkeys(tag_id for tag_id in [*relation.tag_ids, *(add_tags or [])] if tag_id not in (remove_tags or []))
    )
    if personal_tags is not None:
        relation.personal_tags = tuple(("个人标签", name) for name in personal_tags)
    relation.remark = relation.remark if remark is None else remark
    relation.description = relation.description if description is None else description
    relation.corp_name = relation.corp_name if corp_name is None else corp_name
    relation.mobiles = relation.mobiles if mobiles is None else tuple(mobiles)
    doing.tell(EVENT, "edit_external_contact", UserID=staff.userid, ExternalUserID=external_userid)
    return {}


@act
def customer_changes_name(
    doing: Doing, *, external_userid: str, name: str, avatar: str = "", gender: int | None = None
) -> dict[str, Any]:
    """The customer changes name, avatar or gender in WeChat. WeCom tells nobody."""
    customer = doing.customer(external_userid)
    customer.name = name
    customer.avatar = avatar or customer.avatar
    customer.gender = customer.gender if gender is None else gender
    return {}


@act
def delete_customer(doing: Doing, *, external_userid: str, userid: str) -> dict[str, Any]:
    """The member deletes the customer: 84061 from now on."""
    staff, _relation = relation_of(doing, external_userid, userid)
    doing.state.end_relation(staff, external_userid)
    doing.tell(EVENT, "del_external_contact", UserID=staff.userid, ExternalUserID=external_userid)
    return {}


@act
def customer_deletes_staff(doing: Doing, *, external_userid: str, userid: str, link_id: str = "") -> dict[str, Any]:
    """The customer removes the member: the API goes on showing the relation. link_id: acquired by that link."""
    staff, relation = relation_of(doing, external_userid, userid)
    if relation.status != FULL:
        raise ActError(f"{userid} and {external_userid} are {relation.status}.")
    if link_id and link_id not in doing.state.links:
        raise ActError(f"No acquisition link {link_id!r}.")
    relation.status, relation.lost_at = DELETED_BY_CUSTOMER, doing.now
    doing.state.count_loss(staff.userid)
    doing.tell(EVENT, "del_follow_user", UserID=staff.userid, ExternalUserID=external_userid)
    if link_id:
        doing.tell(
            "customer_acquisition",
            "del_follow_user",
            UserID=staff.userid,
            ExternalUserID=external_userid,
            LinkId=link_id,
        )
    return {"lost_at": doing.now}


@act
def readd_customer(
    doing: Doing, *, external_userid: str, userid: str, state: str = "", welcome: bool = True
) -> dict[str, Any]:
    """A customer who removed the member, or was deleted by them, adds them again: a new createtime, notes kept."""
    customer = doing.customer(external_userid)
    staff = _pick_staff(doing, userid)
    old = staff.relations.get(external_userid)
    if old is not None and old.status != DELETED_BY_CUSTOMER:
        raise ActError(f"{userid} follows {external_userid} already.")
    relation = doing.state.begin_relation(
        staff,
        customer,
        status=FULL,
        createtime=_next_createtime(doing, old),
        add_way=1,
        state=state,
        oper_userid=external_userid,
        **_kept_notes(old),
    )
    return _told_of_new(doing, staff, customer, relation, welcome=welcome)


@act
def transfer_customer(doing: Doing, *, external_userid: str, userid: str, takeover_userid: str) -> dict[str, Any]:
    """An administrator's transfer comes into force: DELETE_BY_TRANSFER for the old member, an add for the new one."""
    staff, _relation = relation_of(doing, external_userid, userid)
    taker = doing.staff(takeover_userid)
    if external_userid in taker.relations:
        raise ActError(f"{takeover_userid} follows {external_userid} already.")
    move_relation(doing, staff, taker, external_userid)
    return {"createtime": doing.now}


def move_relation(doing: Doing, staff: Staff, taker: Staff, external_userid: str) -> None:
    """Hand a customer over, and tell of it."""
    old = doing.state.end_relation(staff, external_userid)
    begin_taken(doing, old, taker, external_userid)
    doing.tell(
        EVENT,
        "del_external_contact",
        UserID=staff.userid,
        ExternalUserID=external_userid,
        Source="DELETE_BY_TRANSFER",
    )
    doing.tell(EVENT, "add_external_contact", UserID=taker.userid, ExternalUserID=external_userid)


def begin_taken(doing: Doing, old: Relation | None, taker: Staff, external_userid: str) -> None:
    """Begin the taker's relation: corp tags come along, remarks do not."""
    doing.state.begin_relation(
        taker,
        doing.state.customers[external_userid],
        status=FULL,
        createtime=doing.now,
        add_way=202,
        oper_userid=taker.userid,
        tag_ids=tuple(tag_id for tag_id in old.tag_ids if not doing.state.tags[tag_id].deleted) if old else (),
    )
    doing.state.count_gain(taker.userid)
