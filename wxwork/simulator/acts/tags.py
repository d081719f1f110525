"""What an administrator does to the library of customer tags in the console."""

from typing import Any

from wxwork.simulator.acts.registry import ActError, Doing, act
from wxwork.simulator.state import Tag, TagGroup

EVENT = "change_external_tag"
CONSOLE = 0


def _group(doing: Doing, group_id: str) -> TagGroup:
    group = doing.state.tag_groups.get(group_id)
    if group is None or group.deleted:
        raise ActError(f"No tag group {group_id!r}.")
    return group


def _tag(doing: Doing, tag_id: str) -> Tag:
    tag = doing.state.tags.get(tag_id)
    if tag is None or tag.deleted:
        raise ActError(f"No tag {tag_id!r}.")
    return tag


def _strategy(group: TagGroup) -> int | None:
    return group.strategy_id or None


def _check_name(group: TagGroup, name: str, but: Tag | None = None) -> None:
    if not name or len(name) > 30:
        raise ActError("A name has 1 to 30 characters.")
    if any(tag.name == name and not tag.deleted for tag in group.tags.values() if tag is not but):
        raise ActError(f"The group has a tag {name!r}.")


def _new_tag(doing: Doing, group: TagGroup, name: str, order: int) -> Tag:
    tag = Tag(doing.state.new_id("et"), name, group.id, doing.now, order)
    group.tags[tag.id] = doing.state.tags[tag.id] = tag
    return tag


@act
def tag_group_create(doing: Doing, *, name: str, tags: list[str], order: int = 0) -> dict[str, Any]:
    """A group is made with its tags: one callback for the group, one for each tag."""
    if not name or any(group.name == name for group in doing.state.live_groups()):
        raise ActError(f"The group name {name!r} is empty or taken.")
    if not tags or len(set(tags)) != len(tags) or not all(0 < len(tag) <= 30 for tag in tags):
        raise ActError("A group has at least one tag, each with a name of its own.")
    group = TagGroup(doing.state.new_id("et"), name, doing.now, order, owner=CONSOLE)
    doing.state.tag_groups[group.id] = group
    made = [_new_tag(doing, group, tag, len(tags) - place) for place, tag in enumerate(tags)]
    doing.tell(EVENT, "create", Id=group.id, TagType="tag_group")
    for tag in made:
        doing.tell(EVENT, "create", Id=tag.id, TagType="tag")
    return {"group_id": group.id, "tag_ids": [tag.id for tag in made]}


@act
def tag_create(doing: Doing, *, group_id: str, name: str, order: int = 0) -> dict[str, Any]:
    """A tag is added to a group."""
    group = _group(doing, group_id)
    _check_name(group, name)
    tag = _new_tag(doing, group, name, order)
    doing.tell(EVENT, "create", Id=tag.id, TagType="tag", StrategyId=_strategy(group))
    return {"tag_id": tag.id}


@act
def tag_rename(doing: Doing, *, tag_id: str, name: str) -> dict[str, Any]:
    """A tag is renamed."""
    tag = _tag(doing, tag_id)
    group = doing.state.tag_groups[tag.group_id]
    _check_name(group, name, but=tag)
    tag.name = name
    doing.tell(EVENT, "update", Id=tag_id, TagType="tag", StrategyId=_strategy(group))
    return {}


@act
def tag_group_rename(doing: Doing, *, group_id: str, name: str) -> dict[str, Any]:
    """A group is renamed."""
    group = _group(doing, group_id)
    if not name or any(one.name == name for one in doing.state.live_groups() if one is not group):
        raise ActError(f"The group name {name!r} is empty or taken.")
    group.name = name
    doing.tell(EVENT, "update", Id=group_id, TagType="tag_group", StrategyId=_strategy(group))
    return {}


@act
def tag_delete(doing: Doing, *, tag_id: str) -> dict[str, Any]:
    """A tag is deleted, and comes off every customer; the last one takes its group with it."""
    tag = _tag(doing, tag_id)
    group = doing.state.tag_groups[tag.group_id]
    doing.state.delete_tag(tag)
    doing.tell(EVENT, "delete", Id=tag_id, TagType="tag", StrategyId=_strategy(group))
    if group.deleted:
        doing.tell(EVENT, "delete", Id=group.id, TagType="tag_group", StrategyId=_strategy(group))
    return {"group_deleted": group.deleted}


@act
def tag_group_delete(doing: Doing, *, group_id: str) -> dict[str, Any]:
    """A group is deleted with its tags: one callback."""
    group = _group(doing, group_id)
    doing.state.delete_tag_group(group)
    doing.tell(EVENT, "delete", Id=group_id, TagType="tag_group", StrategyId=_strategy(group))
    return {}


@act
def tag_shuffle(doing: Doing, *, group_id: str = "") -> dict[str, Any]:
    """The tags of a group change places; without a group the groups do, and the callback's Id is empty."""
    things: list[Tag | TagGroup] = [*doing.state.live_groups()]
    if group_id:
        things = [tag for tag in _group(doing, group_id).tags.values() if not tag.deleted]
    orders = [thing.order for thing in things]
    doing.state.random.shuffle(orders)
    for thing, order in zip(things, orders, strict=True):
        thing.order = order
    doing.tell(EVENT, "shuffle", Id=group_id)
    return {}
