"""What an administrator does to departments and staff, and what leaving means for customers and groups."""

from typing import Any

from wxwork.simulator.acts.registry import ActError, Doing, act
from wxwork.simulator.state import FIRST_ORDER, Department, Staff, Unassigned

EVENT = "change_contact"


def _check_departments(doing: Doing, numbers: list[int]) -> None:
    if not numbers:
        raise ActError("A member belongs to at least one department.")
    if unknown := [number for number in numbers if number not in doing.state.departments]:
        raise ActError(f"No department {unknown[0]}.")


def _tell_of(doing: Doing, change_type: str, **fields: Any) -> None:
    """Tell of a member: all that is known or has changed, or only ids and departments, where a corp tells so little."""
    if doing.corp.tells_little_of_contacts:
        fields = {name: fields.get(name) for name in ("UserID", "NewUserID", "Department")}
        if change_type == "update_user" and fields["NewUserID"] is None and fields["Department"] is None:
            return
    doing.tell(EVENT, change_type, **fields)


def _joined(numbers: list[int]) -> str:
    return ",".join(map(str, numbers))


@act
def staff_joins(
    doing: Doing,
    *,
    userid: str,
    name: str,
    departments: list[int],
    position: str = "",
    has_customer_contact: bool = True,
) -> dict[str, Any]:
    """Somebody joins the company."""
    _check_departments(doing, departments)
    if not userid or doing.state.find_staff(userid) is not None:
        raise ActError(f"The userid {userid!r} is empty or taken.")
    doing.state.left.pop(userid.lower(), None)
    staff = doing.state.add_staff(userid, name, departments, position=position)
    staff.has_customer_contact = has_customer_contact
    _tell_of(
        doing,
        "create_user",
        UserID=userid,
        Name=name,
        Department=_joined(departments),
        MainDepartment=departments[0],
        IsLeaderInDept=_joined([0] * len(departments)),
        Position=position,
        Status=1,
    )
    return {"userid": userid}


@act
def staff_leaves(doing: Doing, *, userid: str) -> dict[str, Any]:
    """A member leaves: gone from the contacts, customers wait in get_unassigned_list, groups get status 1."""
    staff = doing.staff(userid)
    state = doing.state
    del state.staff[staff.userid.lower()]
    state.left[staff.userid.lower()] = staff
    staff.status = 5
    for external_userid in list(staff.relations):
        relation = state.end_relation(staff, external_userid)
        if relation is not None and relation.is_readable:
            state.unassigned.append(Unassigned(staff.userid, external_userid, doing.now, relation))
    owned = [group for group in state.groups.values() if group.owner == staff.userid and not group.dismissed]
    for group in owned:
        group.status = 1
    _forget(doing, staff)
    doing.tell(EVENT, "delete_user", UserID=staff.userid)
    return {"unassigned": sum(one.handover_userid == staff.userid for one in state.unassigned), "groups": len(owned)}


def _forget(doing: Doing, staff: Staff) -> None:
    """Take a member who has left out of staff tags and from the heads of departments."""
    for tag in doing.state.staff_tags.values():
        tag.userids = [userid for userid in tag.userids if userid != staff.userid]
    for department in doing.state.departments.values():
        department.leaders = [userid for userid in department.leaders if userid != staff.userid]


@act
def staff_changes(
    doing: Doing,
    *,
    userid: str,
    name: str | None = None,
    position: str | None = None,
    departments: list[int] | None = None,
    new_userid: str | None = None,
    status: int | None = None,
    has_customer_contact: bool | None = None,
    is_verified: bool | None = None,
    customer_limit: int | None = None,
    has_console_welcome: bool | None = None,
    mobile: str | None = None,
) -> dict[str, Any]:
    """A member is renamed, moved, disabled (status 2) or given another userid; 客户联系 is turned on or off.

    Only what WeCom tells of is told: not 客户联系, verification, limits and the console's welcome message.
    """
    staff = doing.staff(userid)
    if departments is not None:
        _check_departments(doing, departments)
    if status not in (None, 1, 2, 4, 5):
        raise ActError("status is 1, 2, 4 or 5.")
    if new_userid is not None and (not new_userid or doing.state.find_staff(new_userid) not in (None, staff)):
        raise ActError(f"The userid {new_userid!r} is empty or taken.")
    told = {
        "NewUserID": new_userid,
        "Name": name,
        "Department": None if departments is None else _joined(departments),
        "MainDepartment": None if departments is None else departments[0],
        "IsLeaderInDept": None if departments is None else _joined([0] * len(departments)),
        "Position": position,
        "Mobile": mobile,
        "Status": status,
    }
    old_userid = staff.userid
    given = {
        "name": name,
        "position": position,
        "status": status,
        "has_customer_contact": has_customer_contact,
        "is_verified": is_verified,
        "customer_limit": customer_limit,
        "has_console_welcome": has_console_welcome,
        "mobile": mobile,
    }
    for field, value in given.items():
        if value is not None:
            setattr(staff, field, value)
    if departments is not None:
        staff.departments, staff.main_department = list(departments), departments[0]
        staff.leads = [0] * len(departments)
    if new_userid is not None:
        _rename(doing, staff, new_userid)
    if any(value is not None for value in told.values()):
        _tell_of(doing, "update_user", UserID=old_userid, **told)
    return {"userid": staff.userid}


def _rename(doing: Doing, staff: Staff, new_userid: str) -> None:
    """Give a member another userid everywhere."""
    state, old = doing.state, staff.userid
    state.staff = {(new_userid if one is staff else one.userid).lower(): one for one in state.staff.values()}
    staff.userid = new_userid
    for relation in staff.relations.values():
        relation.userid = new_userid
    for code in state.welcome_codes.values():
        code.userid = new_userid if code.userid == old else code.userid
    for way in state.contact_ways.values():
        way["user"] = [new_userid if userid == old else userid for userid in way["user"]]
    for transfer in state.transfers:
        transfer.handover_userid = new_userid if transfer.handover_userid == old else transfer.handover_userid
        transfer.takeover_userid = new_userid if transfer.takeover_userid == old else transfer.takeover_userid
    for group in state.groups.values():
        group.owner = new_userid if group.owner == old else group.owner
        if old in group.members:
            member = group.members.pop(old)
            member.id = new_userid
            group.members[new_userid] = member
    for department in state.departments.values():
        department.leaders = [new_userid if userid == old else userid for userid in department.leaders]
    for tag in state.staff_tags.values():
        tag.userids = [new_userid if userid == old else userid for userid in tag.userids]


@act
def department_create(doing: Doing, *, id: int, name: str, parentid: int, order: int = 0) -> dict[str, Any]:
    """A department is made."""
    if id in doing.state.departments or id < 1:
        raise ActError(f"The department id {id} is taken or not positive.")
    _check_departments(doing, [parentid])
    doing.state.departments[id] = Department(id, name, parentid, order or FIRST_ORDER - id * 1000)
    doing.tell(EVENT, "create_party", Id=id, Name=name, ParentId=str(parentid), Order=order or 1)
    return {}


@act
def department_update(doing: Doing, *, id: int, name: str | None = None, parentid: int | None = None) -> dict[str, Any]:
    """A department is renamed or moved."""
    _check_departments(doing, [id])
    department = doing.state.departments[id]
    if parentid is not None:
        _check_departments(doing, [parentid])
        if id == 1 or parentid in {one.id for one in doing.state.subtree(id)}:
            raise ActError("A department cannot move below itself, nor the root at all.")
        department.parentid = parentid
    department.name = department.name if name is None else name
    told = None if parentid is None else str(parentid)
    doing.tell(EVENT, "update_party", Id=id, Name=name, ParentId=told)
    return {}


@act
def department_delete(doing: Doing, *, id: int) -> dict[str, Any]:
    """An empty department is deleted."""
    _check_departments(doing, [id])
    if id == 1 or any(one.parentid == id for one in doing.state.departments.values()):
        raise ActError(f"Department {id} is the root or has departments below it.")
    if any(id in staff.departments for staff in doing.state.staff.values()):
        raise ActError(f"Department {id} has members.")
    del doing.state.departments[id]
    doing.tell(EVENT, "delete_party", Id=id)
    return {}


@act
def staff_tag_changes(
    doing: Doing,
    *,
    tagid: int,
    add_users: list[str] | None = None,
    remove_users: list[str] | None = None,
    add_departments: list[int] | None = None,
    remove_departments: list[int] | None = None,
) -> dict[str, Any]:
    """An administrator changes who is in a staff tag."""
    tag = doing.state.staff_tags.get(tagid)
    if tag is None:
        raise ActError(f"No staff tag {tagid}.")
    users, gone = [doing.staff(one).userid for one in add_users or []], remove_users or []
    parties, gone_parties = add_departments or [], remove_departments or []
    if parties:
        _check_departments(doing, parties)
    tag.userids = [one for one in dict.fromkeys([*tag.userids, *users]) if one not in gone]
    tag.departments = [one for one in dict.fromkeys([*tag.departments, *parties]) if one not in gone_parties]
    doing.tell(
        EVENT,
        "update_tag",
        TagId=tagid,
        AddUserItems=",".join(users),
        DelUserItems=",".join(gone),
        AddPartyItems=_joined(parties),
        DelPartyItems=_joined(gone_parties),
    )
    return {}


@act
def set_visible_departments(doing: Doing, *, departments: list[int] | None) -> dict[str, Any]:
    """An administrator sets the app's visible range; null: everybody. WeCom tells nobody."""
    if departments is not None:
        _check_departments(doing, departments)
    doing.state.visible_departments = None if departments is None else set(departments)
    return {}
