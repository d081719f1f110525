"""Contract §4.B: departments, staff, staff tags.

Like every app made after 2022-06-20 this one sees no mobile, mail, avatar or gender of staff.
"""

from typing import Any

from wxwork.simulator.answers import Refused
from wxwork.simulator.endpoints.registry import Call, endpoint
from wxwork.simulator.state import Department, Staff, StaffTag

STAFF_LISTS: dict[str, Any] = {"department": [], "order": [], "is_leader_in_dept": [], "direct_leader": []}
LARGEST_ANSWER = 10_000


def department_row(department: Department) -> dict[str, Any]:
    return {
        "id": department.id,
        "name": department.name,
        "name_en": department.name_en,
        "department_leader": list(department.leaders),
        "parentid": department.parentid,
        "order": department.order,
    }


def staff_row(staff: Staff) -> dict[str, Any]:
    return {
        "userid": staff.userid,
        "name": staff.name,
        "department": list(staff.departments),
        "order": [0] * len(staff.departments),
        "position": staff.position,
        "mobile": "",
        "gender": "0",
        "email": "",
        "is_leader_in_dept": list(staff.leads),
        "direct_leader": [staff.direct_leader] if staff.direct_leader else [],
        "avatar": "",
        "telephone": staff.telephone,
        "alias": staff.alias,
        "status": staff.status,
        "main_department": staff.main_department,
        "extattr": {"attrs": []},
        "external_position": staff.position,
        "external_profile": {
            "external_corp_name": "青岚生活",
            "wechat_channels": {"nickname": "青岚生活", "status": 1},
            "external_attr": [],
        },
    }


def _departments(call: Call) -> list[Department]:
    """Return those of the subtree asked for that the app sees: a parent may be missing from them."""
    state = call.state
    root = call.number("id", default=0)
    if root and root not in state.departments:
        raise Refused(60003)
    found = state.subtree(root) if root else sorted(state.departments.values(), key=lambda one: -one.order)
    if state.visible_departments is None:
        return found
    visible = {one.id for top in state.visible_departments for one in state.subtree(top)}
    return [department for department in found if department.id in visible]


@endpoint("GET", "/cgi-bin/department/list", app="contacts", fail_extra={"department": []})
def department_list(call: Call) -> dict[str, Any]:
    return {"department": [department_row(department) for department in _departments(call)]}


@endpoint("GET", "/cgi-bin/department/simplelist", app="contacts", fail_extra={"department_id": []}, has_hint=False)
def department_simplelist(call: Call) -> dict[str, Any]:
    rows = [{"id": one.id, "parentid": one.parentid, "order": one.order} for one in _departments(call)]
    return {"department_id": rows}


@endpoint("GET", "/cgi-bin/department/get", app="contacts")
def department_get(call: Call) -> dict[str, Any]:
    number = call.number("id")
    if number not in call.state.departments:
        raise Refused(60003)
    found = [department for department in _departments(call) if department.id == number]
    if not found:
        raise Refused(60011)
    return {"department": department_row(found[0])}


@endpoint("GET", "/cgi-bin/user/get", app="contacts", fail_extra=STAFF_LISTS, has_hint=False)
def user_get(call: Call) -> dict[str, Any]:
    userid = call.text("userid", missing=41009, octets=64, long=40003)
    staff = call.state.find_staff(userid)
    if staff is None or not call.state.is_visible(staff):
        raise Refused(60111)
    return staff_row(staff)


def _members(call: Call) -> list[Staff]:
    number = call.number("department_id")
    if number not in call.state.departments:
        raise Refused(60003)
    return [s for s in call.state.staff.values() if number in s.departments and call.state.is_visible(s)]


@endpoint("GET", "/cgi-bin/user/simplelist", app="contacts", fail_extra={"userlist": []})
def user_simplelist(call: Call) -> dict[str, Any]:
    rows = [{"userid": s.userid, "name": s.name, "department": list(s.departments)} for s in _members(call)]
    return {"userlist": rows}


@endpoint("GET", "/cgi-bin/user/list", app="contacts", fail_extra={"userlist": []})
def user_list(call: Call) -> dict[str, Any]:
    members = _members(call)
    if len(members) > LARGEST_ANSWER:
        raise Refused(45029, "response data too large")
    return {"userlist": [staff_row(staff) for staff in members]}


@endpoint("POST", "/cgi-bin/user/list_id", app="contacts_sync")
def user_list_id(call: Call) -> dict[str, Any]:
    limit = call.limit(default=10_000, most=10_000)
    rows = [
        {"userid": staff.userid, "department": department}
        for staff in call.state.staff.values()
        for department in staff.departments
    ]
    page, cursor = call.page(rows, limit)
    return {"next_cursor": cursor, "dept_user": page}


@endpoint("POST", "/cgi-bin/user/getuserid", app="contacts")
def user_getuserid(call: Call) -> dict[str, Any]:
    mobile = call.text("mobile")
    if not 5 <= len(mobile.encode()) <= 32:
        raise Refused(40058)
    for staff in call.state.staff.values():
        if staff.mobile == mobile and call.state.is_visible(staff):
            return {"userid": staff.userid}
    raise Refused(46004)


# ---------------------------------------------------------------------------------------------------------- staff tags
def _tag(call: Call, *, is_write: bool = False) -> StaffTag:
    tag = call.state.staff_tags.get(call.number("tagid", missing=41017))
    if tag is None:
        raise Refused(40068)
    if is_write and tag.owner != call.app.agentid:
        raise Refused(81011)
    return tag


def _tag_name(call: Call, but: StaffTag | None = None) -> str:
    name = call.text("tagname", chars=32)
    if any(tag.name == name for tag in call.state.staff_tags.values() if tag is not but):
        raise Refused(40071)
    return name


@endpoint("GET", "/cgi-bin/tag/list", app="contacts", fail_extra={"taglist": []})
def tag_list(call: Call) -> dict[str, Any]:
    return {"taglist": [{"tagid": tag.id, "tagname": tag.name} for tag in call.state.staff_tags.values()]}


@endpoint("GET", "/cgi-bin/tag/get", app="contacts")
def tag_get(call: Call) -> dict[str, Any]:
    tag = _tag(call)
    members = [staff for userid in tag.userids if (staff := call.state.find_staff(userid))]
    return {
        "tagname": tag.name,
        "userlist": [{"userid": staff.userid, "name": staff.name} for staff in members],
        "partylist": list(tag.departments),
    }


@endpoint("POST", "/cgi-bin/tag/create", app="contacts")
def tag_create(call: Call) -> dict[str, Any]:
    tags = call.state.staff_tags
    name = _tag_name(call)
    number = call.number("tagid", default=max(tags, default=0) + 1)
    if number in tags:
        raise Refused(40068)
    tags[number] = StaffTag(number, name, owner=call.app.agentid)
    return {"errmsg": "created", "tagid": number}


@endpoint("POST", "/cgi-bin/tag/update", app="contacts")
def tag_update(call: Call) -> dict[str, Any]:
    tag = _tag(call, is_write=True)
    tag.name = _tag_name(call, but=tag)
    return {"errmsg": "updated"}


@endpoint("GET", "/cgi-bin/tag/delete", app="contacts")
def tag_delete(call: Call) -> dict[str, Any]:
    del call.state.staff_tags[_tag(call, is_write=True).id]
    return {"errmsg": "deleted"}


def _tagged(call: Call) -> tuple[StaffTag, list[str], list[int], dict[str, Any]]:
    """Return the tag, the good userids and departments of a call, and what its answer says of the bad ones."""
    tag = _tag(call, is_write=True)
    userids, departments = call.texts("userlist"), call.numbers("partylist")
    if len(userids) > 1000 or len(departments) > 100:
        raise Refused(81014)
    if not userids and not departments:
        raise Refused(40035)
    good = [staff.userid for userid in userids if (staff := call.state.find_staff(userid))]
    bad = [userid for userid in userids if not call.state.find_staff(userid)]
    good_departments = [number for number in departments if number in call.state.departments]
    bad_departments = [number for number in departments if number not in call.state.departments]
    if not good and not good_departments:
        raise Refused(40070)
    said: dict[str, Any] = {"invalidlist": "|".join(bad)} if bad else {}
    if bad or bad_departments:
        said["invalidparty"] = bad_departments
    return tag, good, good_departments, said


@endpoint("POST", "/cgi-bin/tag/addtagusers", app="contacts")
def tag_addtagusers(call: Call) -> dict[str, Any]:
    tag, userids, departments, said = _tagged(call)
    tag.userids += [userid for userid in userids if userid not in tag.userids]
    tag.departments += [number for number in departments if number not in tag.departments]
    return said


@endpoint("POST", "/cgi-bin/tag/deltagusers", app="contacts")
def tag_deltagusers(call: Call) -> dict[str, Any]:
    tag, userids, departments, said = _tagged(call)
    tag.userids = [userid for userid in tag.userids if userid not in userids]
    tag.departments = [number for number in tag.departments if number not in departments]
    return {"errmsg": "deleted", **said}
