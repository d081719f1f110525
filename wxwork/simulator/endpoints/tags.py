"""Contract §4.D: the tag library, and tags on relations. API writes send no callback."""

from typing import Any

from wxwork.simulator.answers import Refused
from wxwork.simulator.endpoints.registry import Call, endpoint
from wxwork.simulator.state import Tag, TagGroup

MAX_NAME = 30
MAX_TAGS_OF_RELATION = 3_000
MAX_TAGS = 10_000
MAX_ORDER = 2**32 - 1


def tag_row(tag: Tag, *, shows_deleted: bool) -> dict[str, Any]:
    row = {"id": tag.id, "name": tag.name, "create_time": tag.created_at, "order": tag.order}
    return {**row, "deleted": tag.deleted} if shows_deleted else row


def group_row(group: TagGroup, *, shows_deleted: bool) -> dict[str, Any]:
    """Return a group with its tags, larger order first; deleted ones only where ids were asked for."""
    tags = sorted(group.tags.values(), key=lambda tag: (-tag.order, tag.id))
    row: dict[str, Any] = {
        "group_id": group.id,
        "group_name": group.name,
        "create_time": group.created_at,
        "order": group.order,
    }
    if group.strategy_id:
        row["strategy_id"] = group.strategy_id
    row["tag"] = [tag_row(tag, shows_deleted=shows_deleted) for tag in tags if shows_deleted or not tag.deleted]
    return {**row, "deleted": group.deleted} if shows_deleted else row


@endpoint("POST", "/cgi-bin/externalcontact/get_corp_tag_list", app="customers", fail_extra={"tag_group": []})
def get_corp_tag_list(call: Call) -> dict[str, Any]:
    group_ids, tag_ids = call.texts("group_id"), call.texts("tag_id")
    state = call.state
    if group_ids:
        groups = [_group(call, group_id) for group_id in group_ids]
        return {"tag_group": [group_row(group, shows_deleted=True) for group in groups]}
    if not tag_ids:
        return {"tag_group": [group_row(group, shows_deleted=False) for group in state.live_groups()]}
    found: dict[str, dict[str, Any]] = {}
    for tag_id in tag_ids:
        tag = _library_tag(call, tag_id)
        group = state.tag_groups[tag.group_id]
        row = found.setdefault(group.id, {**group_row(group, shows_deleted=True), "tag": []})
        row["tag"].append(tag_row(tag, shows_deleted=True))
    return {"tag_group": list(found.values())}


def _group(call: Call, group_id: str) -> TagGroup:
    group = call.state.tag_groups.get(group_id)
    if group is None or group.strategy_id:
        raise Refused(40068)
    return group


def _library_tag(call: Call, tag_id: str) -> Tag:
    tag = call.state.tags.get(tag_id)
    if tag is None or call.state.tag_groups[tag.group_id].strategy_id:
        raise Refused(40068)
    return tag


def _order(value: Any, default: int) -> int:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_ORDER:
        raise Refused(40058)
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value or len(value) > MAX_NAME:
        raise Refused(40058)
    return value


@endpoint("POST", "/cgi-bin/externalcontact/add_corp_tag", app="customers")
def add_corp_tag(call: Call) -> dict[str, Any]:
    rows = call.body.get("tag")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise Refused(40058)
    # Same-named tags of one request are one tag.
    wanted = {_name(row.get("name")): _order(row.get("order"), 0) for row in rows}
    if len(wanted) + sum(not tag.deleted for tag in call.state.tags.values()) > MAX_TAGS:
        raise Refused(40058, "too many tags")  # the code is not documented
    group, is_new = _group_to_fill(call)
    taken = {tag.name for tag in group.tags.values() if not tag.deleted}
    if taken & wanted.keys():
        raise Refused(40071)
    if is_new:
        call.state.tag_groups[group.id] = group
    made = []
    for name, order in wanted.items():
        tag = Tag(call.state.new_id("et"), name, group.id, call.now, order)
        group.tags[tag.id] = call.state.tags[tag.id] = tag
        made.append(tag)
    row = group_row(group, shows_deleted=False)
    return {"tag_group": {**row, "tag": [tag_row(tag, shows_deleted=False) for tag in made]}}


def _group_to_fill(call: Call) -> tuple[TagGroup, bool]:
    """Return the group that new tags go to, and whether it is new: by id, else by name, else made."""
    if group_id := call.text("group_id", required=False):
        group = _group(call, group_id)
        if group.deleted:
            raise Refused(40068)
        return group, False
    name = _name(call.body.get("group_name"))
    for group in call.state.live_groups():
        if group.name == name:
            return group, False
    order = _order(call.body.get("order"), 0)
    return TagGroup(call.state.new_id("et"), name, call.now, order, owner=call.app.agentid), True


def _check_owner(call: Call, group: TagGroup) -> None:
    """Let an app edit only what it has made; what the console has made is nobody's."""
    if group.owner != call.app.agentid:
        raise Refused(81011)


@endpoint("POST", "/cgi-bin/externalcontact/edit_corp_tag", app="customers")
def edit_corp_tag(call: Call) -> dict[str, Any]:
    identity = call.text("id", missing=40068)
    name = _name(call.body["name"]) if call.body.get("name") else ""
    order = _order(call.body.get("order"), -1)
    group = call.state.tag_groups.get(identity)
    tag = call.state.tags.get(identity)
    thing: Tag | TagGroup
    siblings: list[Tag] | list[TagGroup]
    if group is not None and not group.deleted and not group.strategy_id:
        thing, siblings = group, call.state.live_groups()
    elif tag is not None and not tag.deleted and not call.state.tag_groups[tag.group_id].strategy_id:
        group = call.state.tag_groups[tag.group_id]
        thing, siblings = tag, [one for one in group.tags.values() if not one.deleted]
    else:
        raise Refused(40068)
    _check_owner(call, group)
    if name and any(one.name == name for one in siblings if one is not thing):
        raise Refused(40071)
    thing.name = name or thing.name
    thing.order = order if order >= 0 else thing.order
    return {}


@endpoint("POST", "/cgi-bin/externalcontact/del_corp_tag", app="customers")
def del_corp_tag(call: Call) -> dict[str, Any]:
    tag_ids, group_ids = call.texts("tag_id"), call.texts("group_id")
    if not tag_ids and not group_ids:
        raise Refused(40058)
    tags = [_library_tag(call, tag_id) for tag_id in tag_ids]
    groups = [_group(call, group_id) for group_id in group_ids]
    if any(tag.deleted for tag in tags) or any(group.deleted for group in groups):
        raise Refused(40068)
    for owning in [*groups, *(call.state.tag_groups[tag.group_id] for tag in tags)]:
        _check_owner(call, owning)
    for tag in tags:
        call.state.delete_tag(tag)
    for group in groups:
        call.state.delete_tag_group(group)
    return {}


@endpoint("POST", "/cgi-bin/externalcontact/mark_tag", app="customers", relation=("userid", "external_userid"))
def mark_tag(call: Call) -> dict[str, Any]:
    relation = call.state.relation(call.text("userid", missing=41009), call.text("external_userid", missing=41035))
    add, remove = call.texts("add_tag"), call.texts("remove_tag")
    if not add and not remove:
        raise Refused(40058)
    for tag_id in [*add, *remove]:
        call.state.usable_tag(tag_id)
    kept = [tag_id for tag_id in relation.tag_ids if tag_id not in remove]
    kept += [tag_id for tag_id in dict.fromkeys(add) if tag_id not in kept]
    if len(kept) > MAX_TAGS_OF_RELATION:
        raise Refused(40058, "too many tags of a customer")  # the code is not documented
    relation.tag_ids = tuple(kept)
    return {}


@endpoint("POST", "/cgi-bin/externalcontact/get_strategy_tag_list", app="customers", fail_extra={"tag_group": []})
def get_strategy_tag_list(call: Call) -> dict[str, Any]:
    strategy_id = call.number("strategy_id", default=0)
    tag_ids, group_ids = call.texts("tag_id"), call.texts("group_id")
    rows = []
    for group in call.state.tag_groups.values():
        if group.deleted or not group.strategy_id or strategy_id not in (0, group.strategy_id):
            continue
        if group_ids and group.id not in group_ids:
            continue
        row = group_row(group, shows_deleted=False)
        if tag_ids and not group_ids:
            row["tag"] = [tag for tag in row["tag"] if tag["id"] in tag_ids]
        if row["tag"]:
            rows.append(row)
    return {"tag_group": rows}
