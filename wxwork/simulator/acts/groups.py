"""What happens in customer groups."""

from typing import Any

from wxwork.simulator.acts.registry import ActError, Doing, act
from wxwork.simulator.rows import group_row
from wxwork.simulator.state import Group, GroupMember

EVENT = "change_external_chat"
STAFF, CUSTOMER = 1, 2


def _member(doing: Doing, one: str, *, join_scene: int, invitor: str = "", state: str = "") -> GroupMember:
    """Return a member-to-be: staff, or a customer of the corp, or another person outside."""
    staff = doing.state.find_staff(one)
    kind = STAFF if staff is not None else CUSTOMER
    return GroupMember(staff.userid if staff else one, kind, doing.now, join_scene, invitor, state=state)


def _before_change(doing: Doing, group: Group) -> None:
    """Keep what groupchat/get goes on showing while details lag behind callbacks."""
    seconds = doing.corp.group_lag_seconds
    if seconds:
        group.lagging = group_row(doing.state, group, has_names=True)
        group.lags_until = doing.corp.clock.now() + seconds


@act
def group_create(
    doing: Doing, *, owner: str, name: str = "", members: list[str] | None = None, notice: str = ""
) -> dict[str, Any]:
    """A member of staff makes a group. members: external_userids and userids."""
    staff = doing.staff(owner)
    group = Group(doing.state.new_id("wr"), name, staff.userid, doing.now, notice)
    for one in [staff.userid, *(members or [])]:
        member = _member(doing, one, join_scene=1, invitor=staff.userid)
        group.members[member.id] = member
    doing.state.change_version(group)
    doing.state.groups[group.chat_id] = group
    doing.tell(EVENT, "create", ChatId=group.chat_id)
    return {"chat_id": group.chat_id}


@act
def group_join(doing: Doing, *, chat_id: str, members: list[str], scene: int = 3, state: str = "") -> dict[str, Any]:
    """People join. scene: 0 invited, 3 by the group's QR code."""
    group = doing.group(chat_id)
    if not members or len(set(members)) < len(members) or any(one in group.members for one in members):
        raise ActError("Name members who are not in the group.")
    if scene not in (0, 3):
        raise ActError("scene is 0 or 3.")
    _before_change(doing, group)
    for one in members:
        invitor = group.owner if scene == 0 else ""
        member = _member(doing, one, join_scene=3 if scene == 3 else 1, invitor=invitor, state=state)
        group.members[member.id] = member
    last, current = doing.state.change_version(group)
    doing.tell(
        EVENT,
        "update",
        ChatId=chat_id,
        UpdateDetail="add_member",
        JoinScene=scene,
        MemChangeCnt=len(members),
        MemChangeList=members,
        LastMemVer=last,
        CurMemVer=current,
    )
    return {"member_version": current, "join_time": doing.now}


@act
def group_leave(doing: Doing, *, chat_id: str, members: list[str], scene: int = 0) -> dict[str, Any]:
    """People leave. scene: 0 by themselves, 1 removed by the owner."""
    group = doing.group(chat_id)
    strange = [one for one in members if one not in group.members or one == group.owner]
    if not members or strange or len(set(members)) < len(members):
        raise ActError("Name members who are in the group, and not its owner.")
    if scene not in (0, 1):
        raise ActError("scene is 0 or 1.")
    _before_change(doing, group)
    for one in members:
        del group.members[one]
    last, current = doing.state.change_version(group)
    doing.tell(
        EVENT,
        "update",
        ChatId=chat_id,
        UpdateDetail="del_member",
        QuitScene=scene,
        MemChangeCnt=len(members),
        MemChangeList=members,
        LastMemVer=last,
        CurMemVer=current,
    )
    return {"member_version": current}


def _tell_detail(doing: Doing, group: Group, detail: str) -> dict[str, Any]:
    doing.tell(EVENT, "update", ChatId=group.chat_id, UpdateDetail=detail)
    return {}


@act
def group_rename(doing: Doing, *, chat_id: str, name: str) -> dict[str, Any]:
    """The group gets another name."""
    group = doing.group(chat_id)
    _before_change(doing, group)
    group.name = name
    return _tell_detail(doing, group, "change_name")


@act
def group_notice(doing: Doing, *, chat_id: str, notice: str) -> dict[str, Any]:
    """The group gets another notice."""
    group = doing.group(chat_id)
    _before_change(doing, group)
    group.notice = notice
    return _tell_detail(doing, group, "change_notice")


@act
def group_change_owner(doing: Doing, *, chat_id: str, owner: str) -> dict[str, Any]:
    """The group gets another owner."""
    group, staff = doing.group(chat_id), doing.staff(owner)
    _before_change(doing, group)
    group.owner, group.status = staff.userid, 0
    group.members.setdefault(staff.userid, _member(doing, staff.userid, join_scene=1))
    return _tell_detail(doing, group, "change_owner")


@act
def group_dismiss(doing: Doing, *, chat_id: str) -> dict[str, Any]:
    """The group is dissolved."""
    group = doing.group(chat_id)
    group.dismissed = True
    doing.tell(EVENT, "dismiss", ChatId=chat_id)
    return {}
