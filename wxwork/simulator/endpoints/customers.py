"""Contract §4.C: customers and what each follower notes on them."""

from typing import Any

from wxwork.simulator.answers import Refused
from wxwork.simulator.endpoints.registry import Call, endpoint
from wxwork.simulator.state import Customer, Relation, Staff, State

WECHAT_USER, WECOM_USER = 1, 2
CORP_TAG, PERSONAL_TAG, RULE_TAG = 1, 2, 3
MAX_REMARK, MAX_DESCRIPTION = 20, 150
CHANNELS_ADD_WAY = 10


def contact_row(state: State, customer: Customer) -> dict[str, Any]:
    """Return external_contact as `get` and the batch show it."""
    row: dict[str, Any] = {
        "external_userid": customer.external_userid,
        "name": customer.name,
        "avatar": customer.avatar or f"http://wx.qlogo.cn/mmhead/{customer.external_userid[2:18]}/0",
        "type": customer.type,
        "gender": customer.gender,
    }
    if customer.type == WECOM_USER:
        row |= {
            "position": customer.position,
            "corp_name": customer.corp_name,
            "corp_full_name": customer.corp_name,
            "external_profile": {"external_attr": []},
        }
    elif state.is_bound_to_wechat:
        row["unionid"] = customer.unionid
    return row


def _notes(relation: Relation) -> dict[str, Any]:
    return {
        "userid": relation.userid,
        "remark": relation.remark,
        "description": relation.description,
        "createtime": relation.createtime,
    }


def _more_notes(relation: Relation) -> dict[str, Any]:
    more: dict[str, Any] = {
        "remark_corp_name": relation.corp_name,
        "remark_mobiles": list(relation.mobiles),
        "oper_userid": relation.oper_userid,
        "add_way": relation.add_way,
    }
    if relation.state:
        more["state"] = relation.state
    if relation.add_way == CHANNELS_ADD_WAY:
        more["wechat_channels"] = {"nickname": "青岚生活", "source": 1}
    return more


def follow_user_row(state: State, relation: Relation) -> dict[str, Any]:
    """Return a row of follow_user: tags of all three types, personal ones without an id."""
    tags: list[dict[str, Any]] = []
    for tag_id in relation.tag_ids:
        tag = state.tags[tag_id]
        group = state.tag_groups[tag.group_id]
        kind = RULE_TAG if group.strategy_id else CORP_TAG
        tags.append({"group_name": group.name, "tag_name": tag.name, "tag_id": tag_id, "type": kind})
    tags += [{"group_name": group, "tag_name": name, "type": PERSONAL_TAG} for group, name in relation.personal_tags]
    return {**_notes(relation), "tags": tags, **_more_notes(relation)}


def follow_info_row(relation: Relation) -> dict[str, Any]:
    """Return follow_info of the batch: ids of corp and rule tags, personal ones never."""
    return {**_notes(relation), "tag_id": list(relation.tag_ids), **_more_notes(relation)}


@endpoint(
    "GET",
    "/cgi-bin/externalcontact/get_follow_user_list",
    app="customers",
    fail_extra={"follow_user": []},
    has_hint=False,
)
def get_follow_user_list(call: Call) -> dict[str, Any]:
    return {"follow_user": [staff.userid for staff in call.state.serving_staff()]}


@endpoint("GET", "/cgi-bin/externalcontact/list", app="customers", fail_extra={"external_userid": []}, has_hint=False)
def list_customers(call: Call) -> dict[str, Any]:
    staff = call.state.serving(call.text("userid", missing=41009))
    found = [relation.external_userid for relation in staff.relations.values() if relation.is_readable]
    if not found:
        raise Refused(84061)  # what SDKs have seen for a member without customers (contract §10)
    return {"external_userid": found}


@endpoint("GET", "/cgi-bin/externalcontact/get", app="customers")
def get_customer(call: Call) -> dict[str, Any]:
    external_userid = call.text("external_userid", missing=41035)
    customer = call.state.customers.get(external_userid)
    if customer is None:
        raise Refused(40096)
    followers = call.state.readable_relations(customer)
    if not followers:
        raise Refused(84061)
    page, cursor = call.page(followers, call.corp.followers_per_page, lambda relation: relation.number)
    found = {
        "external_contact": contact_row(call.state, customer),
        "follow_user": [follow_user_row(call.state, relation) for relation in page],
    }
    return {**found, "next_cursor": cursor} if cursor else found


@endpoint(
    "POST", "/cgi-bin/externalcontact/batch/get_by_user", app="customers", fail_extra={"external_contact_list": []}
)
def batch_get_by_user(call: Call) -> dict[str, Any]:
    userids = call.texts("userid_list", most=100, required=True)
    limit = call.limit(default=50, most=100, clamps=True)
    members = [call.state.serving(userid) for userid in userids]
    rows, cursor = _batch_page(call, members, limit)
    return {
        "external_contact_list": [
            {
                "external_contact": contact_row(call.state, call.state.customers[relation.external_userid]),
                "follow_info": follow_info_row(relation),
            }
            for relation in rows
        ],
        "next_cursor": cursor,
    }


def _batch_page(call: Call, members: list[Staff], limit: int) -> tuple[list[Relation], str]:
    """Return a page over the members' relations, member by member, oldest first.

    A position is (member, number of its last relation): what comes or goes meanwhile shifts nothing.
    """
    paging = call.corp.paging
    place, after = paging.position(call.path, call.params, default=(0, 0))
    size = paging.size(limit)
    found: list[Relation] = []
    reached = place
    for at in range(place, len(members)):
        for relation in members[at].relations.values():
            if not relation.is_readable or (at == place and relation.number <= after):
                continue
            if len(found) == size:
                last = (reached, found[-1].number) if found else (place, after)
                return found, paging.cursor(call.path, call.params, last)
            found.append(relation)
            reached = at
    return found, ""


@endpoint("POST", "/cgi-bin/externalcontact/remark", app="customers", relation=("userid", "external_userid"))
def remark(call: Call) -> dict[str, Any]:
    relation = call.state.relation(call.text("userid", missing=41009), call.text("external_userid", missing=41035))
    given = {"remark", "description", "remark_company", "remark_mobiles", "remark_pic_mediaid"} & call.body.keys()
    if not given:
        raise Refused(40058)
    note = call.text("remark", required=False, chars=MAX_REMARK)
    description = call.text("description", required=False, chars=MAX_DESCRIPTION)
    company = call.text("remark_company", required=False, chars=MAX_REMARK)
    mobiles = _mobiles(call)
    if picture := call.text("remark_pic_mediaid", required=False):
        call.corp.media_content(picture)
    if "remark" in given:
        relation.remark = note
    if "description" in given:
        relation.description = description
    if "remark_company" in given and call.state.customers[relation.external_userid].type == WECHAT_USER:
        relation.corp_name = company
    if mobiles is not None:
        relation.mobiles = mobiles
    return {}


def _mobiles(call: Call) -> tuple[str, ...] | None:
    """Return the numbers that overwrite those there are. An empty string clears them, alone or in a list (§10)."""
    if "remark_mobiles" not in call.body:
        return None
    if call.body["remark_mobiles"] == "":
        return ()
    return tuple(mobile for mobile in call.texts("remark_mobiles", most=5) if mobile)


@endpoint("POST", "/cgi-bin/externalcontact/contact_list", app="customers")
def contact_list(call: Call) -> dict[str, Any]:
    limit = call.limit(default=1000, most=1000)
    relations = sorted(call.state.iter_relations(), key=lambda relation: relation.number)
    readable = [relation for relation in relations if relation.is_readable]
    page, cursor = call.page(readable, limit, lambda relation: relation.number)
    rows = [
        {
            "is_customer": True,
            "tmp_openid": f"simTmpOpenid_{relation.number}",
            "external_userid": relation.external_userid,
            "follow_userid": relation.userid,
            "add_time": relation.createtime,
        }
        for relation in page
    ]
    return {"info_list": rows, "next_cursor": cursor}


def _by_unionid(call: Call) -> Customer | None:
    unionid = call.text("unionid")
    return next((c for c in call.state.customers.values() if c.type == WECHAT_USER and c.unionid == unionid), None)


@endpoint("POST", "/cgi-bin/idconvert/unionid_to_external_userid", app="customers")
def unionid_convert(call: Call) -> dict[str, Any]:
    if not call.state.is_bound_to_wechat:
        raise Refused(41057)
    call.text("openid", missing=40073)
    call.number("subject_type", default=0)
    customer = _by_unionid(call)
    if customer is None:
        return {"pending_id": call.state.new_id("pending")}
    return {"external_userid": customer.external_userid}


@endpoint("POST", "/cgi-bin/externalcontact/unionid_to_external_userid", app="customers")
def unionid_to_external_userid(call: Call) -> dict[str, Any]:
    customer = _by_unionid(call)
    if customer is None:
        raise Refused(40096)
    if not call.state.readable_relations(customer):
        raise Refused(84061)
    return {"external_userid": customer.external_userid}
