"""Change the tag library from here: WeCom's part of it by way of WeCom, the company's own directly.

    WeCom's        WeCom is asked first, and what it answers is stored; if it refuses, nothing has changed
    ours           stored; ids are made here

Whoever links WeCom connects it (connect); without a link WeCom's part cannot be changed. Inside transaction.atomic on
the control database, so that a refusal leaves nothing behind.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from django.db import transaction

from customers.models import Tag, TagGroup
from customers.tags import tag_library

NAME_LENGTH = 30


class LibraryError(Exception):
    """A change that was refused; the message says why, for whoever asked for it. Nothing has changed here."""


@dataclass(frozen=True)
class MadeTags:
    """What WeCom made: the group, and {tag id: (name, order)} of the new tags."""

    group_id: str
    group_name: str
    group_order: int
    tags: Mapping[str, tuple[str, int]]


class Remote(Protocol):
    """WeCom's library. Every method raises LibraryError if it is refused."""

    def is_configured(self) -> bool:
        """Tell whether there is a company and a secret to change it with."""

    def lock(self) -> None:
        """Keep syncs from writing the library until the open transaction ends."""

    def add(
        self, tags: Sequence[tuple[str, int]], *, group_id: str = "", group_name: str = "", group_order: int = 0
    ) -> MadeTags:
        """Make tags, (name, order) each, in a group, or with a group of that name."""

    def edit(self, id: str, *, name: str | None, order: int | None) -> None:
        """Rename or move a tag or a group."""

    def delete(self, *, tag_ids: Sequence[str] = (), group_ids: Sequence[str] = ()) -> None:
        """Delete tags, or groups with their tags."""

    def deleted(self, tag_ids: Sequence[str]) -> None:
        """Be told, once it has been committed, that tags have gone."""


_remotes: list[Remote] = []


def connect(remote: Remote) -> None:
    """Have WeCom's part of the library changed by way of this."""
    _remotes[:] = [remote]


def is_connected() -> bool:
    """Tell whether there is a WeCom to change the library of."""
    return any(remote.is_configured() for remote in _remotes)


def add_group(name: str, tag_names: Sequence[str], *, is_wecom: bool, order: int = 0) -> TagGroup:
    """Make a group, with tags; WeCom has none without. Raises LibraryError."""
    names = _checked([name, *tag_names], is_wecom=is_wecom)[1:]
    if is_wecom and not names:
        raise LibraryError("企业微信的标签组至少要有一个标签。")
    # The larger an order, the further in front.
    ordered = [(one, len(names) - place) for place, one in enumerate(names)]
    with transaction.atomic():
        if is_wecom:
            made = _remote().add(ordered, group_name=name, group_order=order)
            group, _ = TagGroup.objects.update_or_create(
                id=made.group_id,
                defaults={"name": made.group_name, "order": made.group_order, "is_wecom": True},
            )
            _store(group, made.tags)
        else:
            group = TagGroup.objects.create(id=_own_id(), name=name, order=order)
            _store(group, {_own_id(): one for one in ordered})
    tag_library.forget()
    return group


def add_tag(group: TagGroup, name: str, *, order: int = 0) -> Tag:
    """Make a tag in a group. Raises LibraryError."""
    _checked([name], is_wecom=group.is_wecom)
    with transaction.atomic():
        if group.is_wecom:
            made = _store(group, _remote().add([(name, order)], group_id=group.pk).tags)
        else:
            made = _store(group, {_own_id(): (name, order)})
        if not made:
            raise LibraryError("企业微信没有说明新建了什么，请稍后对账。")
    tag_library.forget()
    return made[0]


def change(thing: Tag | TagGroup, *, name: str, order: int) -> None:
    """Rename or move a tag or a group. Raises LibraryError."""
    group = thing.group if isinstance(thing, Tag) else thing
    before = type(thing)._default_manager.get(pk=thing.pk)
    if (before.name, before.order) == (name, order):
        return
    _checked([name], is_wecom=group.is_wecom)
    with transaction.atomic():
        if group.is_wecom:
            _remote().edit(
                thing.pk, name=name if name != before.name else None, order=order if order != before.order else None
            )
        type(thing)._default_manager.filter(pk=thing.pk).update(name=name, order=order)
    tag_library.forget()


def delete(tags: Iterable[Tag] = (), groups: Iterable[TagGroup] = ()) -> None:
    """Delete tags, and groups with their tags. Raises LibraryError; nothing has been deleted then."""
    group_list = list(groups)
    tag_list = [tag for tag in tags if tag.group not in group_list]
    with transaction.atomic():
        wecom_tags = [tag.pk for tag in tag_list if tag.group.is_wecom]
        wecom_groups = [group.pk for group in group_list if group.is_wecom]
        if wecom_tags or wecom_groups:
            gone = [*wecom_tags, *Tag.objects.filter(group__in=wecom_groups).values_list("id", flat=True)]
            remote = _remote()
            remote.delete(tag_ids=wecom_tags, group_ids=wecom_groups)
            transaction.on_commit(lambda: remote.deleted(gone))
        Tag.objects.filter(pk__in=[tag.pk for tag in tag_list]).delete()
        TagGroup.objects.filter(pk__in=[group.pk for group in group_list]).delete()
        # WeCom's groups go with their last tag.
        emptied = {tag.group_id for tag in tag_list if tag.group.is_wecom}
        TagGroup.objects.filter(pk__in=emptied, tags__isnull=True).delete()
    tag_library.forget()


def _remote() -> Remote:
    if not is_connected():
        raise LibraryError("还没有连接企业微信，不能修改企业微信的标签。")
    _remotes[0].lock()
    return _remotes[0]


def _checked(names: Sequence[str], *, is_wecom: bool) -> list[str]:
    for name in names:
        if not name.strip() or (is_wecom and len(name) > NAME_LENGTH):
            raise LibraryError(f"名称不能为空，企业微信的最多 {NAME_LENGTH} 个字。")
    if len(set(names[1:])) < len(names[1:]):
        raise LibraryError("标签名称重复了。")
    return list(names)


def _own_id() -> str:
    return f"own-{uuid.uuid4().hex[:20]}"


def _store(group: TagGroup, tags: Mapping[str, tuple[str, int]]) -> list[Tag]:
    return [
        Tag.objects.update_or_create(id=number, defaults={"name": name, "group": group, "order": order})[0]
        for number, (name, order) in tags.items()
    ]
