"""The tag library and WeCom's: what WeCom has is stored here, and what is changed here is changed there first.

WeCom says                             stored
a group, its tags                      names, order, which group; what we held under the same id becomes WeCom's
nothing of what we hold as WeCom's     asked for by its id: deleted if WeCom says so, or knows it not; and the tags are
                                         taken off every follow, as WeCom has done
a refusal to show rule groups          what we hold of them stays

One at a time: reading and writing hold a lock, so that no read is written after a later one, and none that was made
before a change from here undoes it. That lock is a transaction of the control database: reads under it do not wait
for budgets (LimitedError).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.conf import settings
from django.db import connection, transaction

from customers.library import LibraryError, MadeTags, connect
from customers.models import Tag, TagGroup
from customers.tags import tag_library
from wxwork.client import Client, wecom
from wxwork.errors import BusinessError, ConfigError, DataError, WxworkError
from wxwork.followers import strip_tags, strip_tags_if_possible
from wxwork.reading import TagGroupData, read_tag_groups

LOCK = 0x77785F746167
NO_SUCH_TAG = 40068
IDS_A_CALL = 1_000


@dataclass
class Library:
    """What a read found. drift: {kind: number of what differed}; deleted: ids of tags that WeCom has no more."""

    groups: int = 0
    tags: int = 0
    drift: Counter[str] = field(default_factory=Counter)
    deleted: list[str] = field(default_factory=list)


def refresh_library(client: Client | None = None) -> Library:
    """Read WeCom's library and store it; what WeCom has deleted is taken off every follow, and then deleted here too.

    In this order, so that one that was broken off finds the same tags to take off again.
    Calls: 2, and one for a thousand tags that are missing. Raises WxworkError, HomeError, DirectoryError.
    """
    library = _read(client or wecom())
    if library.deleted:
        strip_tags(library.deleted)
        with transaction.atomic():
            _lock()
            Tag.objects.filter(pk__in=library.deleted).delete()
            TagGroup.objects.filter(is_wecom=True, tags__isnull=True).delete()
        tag_library.forget()
    return library


def _read(client: Client) -> Library:
    with transaction.atomic():
        _lock()
        found = read_tag_groups(client.list_tags())
        covers_rules = True
        try:
            found += read_tag_groups(client.list_strategy_tags())
        except (ConfigError, DataError, BusinessError):
            covers_rules = False
        library = _store(client, found, covers_rules=covers_rules)
    tag_library.forget()
    return library


def _store(client: Client, found: Sequence[TagGroupData], *, covers_rules: bool) -> Library:
    groups = {group.id: group for group in TagGroup.objects.all()}
    tags = {tag.pk: tag for tag in Tag.objects.select_related("group")}
    library = Library(groups=len(found), tags=sum(len(group.tags) for group in found))
    new_groups = [_group_row(one, groups.get(one.id), library.drift) for one in found]
    TagGroup.objects.bulk_create(
        [row for row in new_groups if row is not None],
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=["name", "order", "is_wecom", "strategy_id"],
    )
    new_tags = [
        row
        for group in found
        for one in group.tags
        if (row := _tag_row(one.id, one.name, one.order, group.id, tags.get(one.id), library.drift))
    ]
    Tag.objects.bulk_create(
        new_tags, update_conflicts=True, unique_fields=["id"], update_fields=["name", "order", "group"]
    )
    library.deleted = sorted(_find_deleted(client, found, tags, covers_rules=covers_rules))
    kept = {tag.group_id for tag_id, tag in tags.items() if tag_id not in library.deleted}
    gone = {one.pk for one in groups.values() if one.is_wecom} - {one.id for one in found} - kept
    library.drift += Counter({"tag_deleted": len(library.deleted), "tag_group_deleted": len(gone)})
    TagGroup.objects.filter(pk__in=gone, tags__isnull=True).delete()
    return library


def _group_row(one: TagGroupData, before: TagGroup | None, drift: Counter[str]) -> TagGroup | None:
    row = TagGroup(id=one.id, name=one.name, order=one.order, is_wecom=True, strategy_id=one.strategy_id)
    if before is None:
        drift["tag_group_added"] += 1
        return row
    if (before.name, before.order) != (one.name, one.order):
        drift["tag_group_changed"] += 1
        return row
    return None if before.is_wecom and before.strategy_id == one.strategy_id else row


def _tag_row(tag_id: str, name: str, order: int, group_id: str, before: Tag | None, drift: Counter[str]) -> Tag | None:
    if before is not None and (before.name, before.order, before.group_id) == (name, order, group_id):
        return None
    drift["tag_added" if before is None else "tag_changed"] += 1
    return Tag(id=tag_id, name=name, order=order, group_id=group_id)


def _find_deleted(
    client: Client, found: Sequence[TagGroupData], tags: Mapping[str, Tag], *, covers_rules: bool
) -> set[str]:
    """Return what WeCom has no more: each is asked for by its id; rule tags are shown as a whole, or not at all."""
    shown = {tag.id for group in found for tag in group.tags}
    missing = [tag for tag_id, tag in tags.items() if tag.group.is_wecom and tag_id not in shown]
    rule_tags = {tag.pk for tag in missing if tag.group.strategy_id} if covers_rules else set()
    return rule_tags | _deleted_among(client, [tag.pk for tag in missing if not tag.group.strategy_id])


def _deleted_among(client: Client, tag_ids: Sequence[str]) -> set[str]:
    """Return those that WeCom marks as deleted, or does not know."""
    gone: set[str] = set()
    for begin in range(0, len(tag_ids), IDS_A_CALL):
        part = tag_ids[begin : begin + IDS_A_CALL]
        try:
            alive = {tag.id for group in read_tag_groups(client.list_tags(tag_ids=part)) for tag in group.tags}
            gone |= set(part) - alive
        except DataError as error:
            if error.code != NO_SUCH_TAG:
                raise
            if len(part) == 1:
                gone |= set(part)
            else:  # one that it does not know hides the others
                for tag_id in part:
                    gone |= _deleted_among(client, [tag_id])
    return gone


def _lock() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])


def is_configured() -> bool:
    """Tell whether there is a WeCom to link with: a company and a secret are set."""
    return bool(settings.WXWORK_CORP_ID and settings.WXWORK_SECRET)


class WecomLibrary:
    """WeCom's library as customers.library changes it. No callback tells of what is done here."""

    def is_configured(self) -> bool:
        return is_configured()

    def lock(self) -> None:
        _lock()

    def add(
        self, tags: Sequence[tuple[str, int]], *, group_id: str = "", group_name: str = "", group_order: int = 0
    ) -> MadeTags:
        try:
            answer = wecom().add_tags(
                [{"name": name, "order": order} for name, order in tags],
                group_id=group_id or None,
                group_name=None if group_id else group_name,
                order=group_order or None,
            )
        except WxworkError as error:
            raise _refusal(error) from error
        for group in read_tag_groups([answer]):
            made = {tag.id: (tag.name, tag.order) for tag in group.tags}
            return MadeTags(group.id, group.name, group.order, made)
        raise LibraryError("企业微信没有说明新建了什么，请稍后对账。")

    def edit(self, id: str, *, name: str | None, order: int | None) -> None:
        try:
            wecom().edit_tag(id, name=name, order=order)
        except WxworkError as error:
            raise _refusal(error) from error

    def delete(self, *, tag_ids: Sequence[str] = (), group_ids: Sequence[str] = ()) -> None:
        try:
            wecom().delete_tags(tag_ids=tag_ids, group_ids=group_ids)
        except WxworkError as error:
            if error.code != NO_SUCH_TAG:  # gone there already: then here too
                raise _refusal(error) from error

    def deleted(self, tag_ids: Sequence[str]) -> None:
        strip_tags_if_possible(tag_ids)


WORDS = {
    40071: "企业微信里已经有同名的标签",
    40068: "企业微信里没有这个标签，请先对账",
    60011: "应用没有权限修改这个标签",
    81011: "这个标签由其他应用创建，本应用不能修改",
    48002: "应用没有调用客户联系接口的权限",
    45009: "企业微信接口调用已达上限，请稍后再试",
}


def _refusal(error: WxworkError) -> LibraryError:
    """Say in words why WeCom refused: its code is in brackets for whoever asks support."""
    said = WORDS.get(error.code or 0) or "企业微信没有接受这个修改"
    code = f"（错误码 {error.code}）" if error.code is not None else f"（{type(error).__name__}）"
    return LibraryError(f"{said}{code}。")


def connect_library() -> None:
    """Have changes of the library from here go to WeCom first."""
    connect(WecomLibrary())
