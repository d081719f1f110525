"""Write customers of one home. Everything that a lookup shows is written here, in the order that keeps the cache true:

    1. lock the customer's row, in customer_id order, and bump its version;
    2. write;
    3. delete the cached value and its guard, or record the key for the keeper if Redis cannot be told;
    4. commit; answer.

A creation deletes once more after its commit (customers.directory). See docs/read-through.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

import orjson
import structlog

from customers.attributes import is_same, is_too_large
from customers.identities import Claim, claims_of
from customers.lookup import CACHE
from customers.marks import mark_dirty
from customers.models import Customer, CustomerTag, Follow
from customers.records import OUR_FIELDS, WECOM_FIELDS, CustomerData, FollowData, merged_attributes, wecom_conflicts
from scrm import sharding
from scrm.cache import CacheUnreachableError

logger = structlog.get_logger(__name__)

FIELDS = (*WECOM_FIELDS, *OUR_FIELDS)
IDENTITY_FIELDS = ("unionid", "mobile")
DEFAULTS: dict[str, Any] = {
    "name": "", "avatar": "", "type": 1, "gender": 0, "unionid": None, "corp_name": "", "position": "",
    "mobile": "", "attributes": {},
}  # fmt: skip

# Fields by which segments choose.
COMPARED_FIELDS = {"type", "gender"}
FOLLOW_NAMES = [one.name for one in fields(FollowData)]
# Of a follow, what stays as it is stored where it is not given; and what nobody is shown.
KEPT = ("created_at", "lost_by", "personal_tags", "read_at")
STAMPS = ("read_at",)
NEW_FOLLOW: dict[str, Any] = {"created_at": None, "lost_by": "", "personal_tags": [], "read_at": None}

COLUMNS = (
    "customer_id bigint, external_userid text, name text, avatar text, type smallint, gender smallint, unionid text, "
    "corp_name text, position text, mobile text, attributes jsonb, synced_at timestamptz, read_at timestamptz"
)
INSERT = f"""
INSERT INTO customers (customer_id, bucket, external_userid, name, avatar, type, gender, unionid, corp_name, position,
    mobile, attributes, synced_at, read_at, version, created_at, updated_at, purchase_count, interaction_count,
    total_amount)
SELECT customer_id, customer_id %% 10, external_userid, name, avatar, type, gender, unionid, corp_name, "position",
    mobile, attributes, synced_at, read_at, 1, %s, %s, 0, 0, 0
FROM jsonb_to_recordset(%s) AS given ({COLUMNS.replace("position text", '"position" text')})
ORDER BY customer_id
ON CONFLICT (customer_id, bucket) DO NOTHING
"""  # noqa: S608 - the columns are constants
# Who is only stamped as read has no new version: nothing that is shown differs.
UPDATE = """
UPDATE customers SET name = given.name, avatar = given.avatar, type = given.type, gender = given.gender,
    unionid = given.unionid, corp_name = given.corp_name, position = given."position", mobile = given.mobile,
    attributes = given.attributes, synced_at = given.synced_at, read_at = given.read_at,
    version = customers.version + CASE WHEN given.only_stamp THEN 0 ELSE 1 END,
    updated_at = CASE WHEN given.only_stamp THEN customers.updated_at ELSE %s END
FROM jsonb_to_recordset(%s) AS given (customer_id bigint, external_userid text, name text, avatar text, type smallint,
    gender smallint, unionid text, corp_name text, "position" text, mobile text, attributes jsonb,
    synced_at timestamptz, read_at timestamptz, only_stamp boolean)
WHERE customers.customer_id = given.customer_id AND customers.bucket = given.customer_id %% 10
  AND customers.bucket = ANY(%s)
"""
INSERT_FOLLOWS = """
INSERT INTO follows (customer_id, bucket, userid, remark, description, mobiles, add_way, state, created_at, lost_at,
    lost_by, tag_ids, personal_tags, read_at)
SELECT customer_id, customer_id %% 10, userid, remark, description, mobiles, add_way, state,
    COALESCE(created_at, %s), lost_at, lost_by, tag_ids, personal_tags, read_at
FROM jsonb_to_recordset(%s) AS given (customer_id bigint, userid text, remark text, description text, mobiles text[],
    add_way int, state text, created_at timestamptz, lost_at timestamptz, lost_by text, tag_ids text[],
    personal_tags jsonb, read_at timestamptz)
ORDER BY customer_id, userid
ON CONFLICT (customer_id, bucket, userid) DO UPDATE SET remark = excluded.remark, description = excluded.description,
    mobiles = excluded.mobiles, add_way = excluded.add_way, state = excluded.state, created_at = excluded.created_at,
    lost_at = excluded.lost_at, lost_by = excluded.lost_by, tag_ids = excluded.tag_ids,
    personal_tags = excluded.personal_tags, read_at = excluded.read_at
"""
# Children go by (customer_id, key) pairs. The list of buckets lets the planner leave the other partitions out.
DELETE_FOLLOWS = """
DELETE FROM follows USING jsonb_to_recordset(%s) AS given (customer_id bigint, userid text)
WHERE follows.customer_id = given.customer_id AND follows.bucket = given.customer_id %% 10
  AND follows.userid = given.userid AND follows.bucket = ANY(%s)
"""
INSERT_TAGS = """
INSERT INTO customer_tags (customer_id, bucket, tag_id, created_at)
SELECT customer_id, customer_id %% 10, tag_id, %s
FROM jsonb_to_recordset(%s) AS given (customer_id bigint, tag_id text)
ORDER BY customer_id, tag_id
ON CONFLICT (customer_id, bucket, tag_id) DO NOTHING
"""
DELETE_TAGS = """
DELETE FROM customer_tags USING jsonb_to_recordset(%s) AS given (customer_id bigint, tag_id text)
WHERE customer_tags.customer_id = given.customer_id AND customer_tags.bucket = given.customer_id %% 10
  AND customer_tags.tag_id = given.tag_id AND customer_tags.bucket = ANY(%s)
"""


@dataclass
class Written:
    """What came of writing: ids by fate. changed: {customer_id: names of what differs, follows and tags among them}.

    refused: {customer_id: (code of directory.REASONS, names of fields)}. claims: the identities that were told, of the
    unchanged too, for the map in the control database.
    """

    changed: dict[int, frozenset[str]] = field(default_factory=dict)
    unchanged: set[int] = field(default_factory=set)
    missing: set[int] = field(default_factory=set)
    refused: dict[int, tuple[str, list[str]]] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)


class AddressTakenError(Exception):
    """An address that was taken for somebody new holds somebody else: the home's sequence gives ids twice."""


def drop_cached(home: int, external_userids: Iterable[str]) -> None:
    """Delete what is cached of these customers, or record it for the keeper, in the open transaction on their home.

    One command to Redis. Database: none when Redis answers; one insert into cache_deletions when it does not.
    """
    keys = list(external_userids)
    if not keys:
        return
    try:
        CACHE.drop(keys)
    except CacheUnreachableError:
        logger.warning("cache_deletion_recorded", home=home, keys=len(keys))
        with sharding.cursor(home) as cursor:
            cursor.execute(
                "INSERT INTO cache_deletions (external_userid, created_at) "
                "SELECT key, now() FROM unnest(%s::text[]) AS key",
                [keys],
            )


def insert_customers(home: int, items: Mapping[int, CustomerData], *, now: datetime) -> list[Claim]:
    """Insert customers at addresses taken for them: the only place where a customer row comes from.

    A row that is there already stays as it is (a creator that was killed had come so far). Raises AddressTakenError
    where it is somebody else's; nothing is written then. Returns the identities that were told.
    Database: the home's, in one transaction, at most five statements whatever the number.
    """
    new = {"customer_id": 0, "external_userid": "", **DEFAULTS, "synced_at": None, "read_at": None}
    items = {customer_id: item.with_follows({}) for customer_id, item in items.items()}
    rows = [
        {**_after(new, item, now), "customer_id": customer_id, "external_userid": item.external_userid}
        for customer_id, item in sorted(items.items())
    ]
    with sharding.atomic_home(home) as alias, sharding.cursor(home) as cursor:
        cursor.execute(INSERT, [now, now, _json(rows)])
        if cursor.rowcount < len(rows):
            _require_own_rows(alias, items)
        _write_children(cursor, items, {}, {}, now)
        mark_dirty(home, items)
        drop_cached(home, [item.external_userid for item in items.values()])
    return [claim for item in items.values() for claim in _claims(item, item.fields, {}, is_new=True)]


def _claims(
    item: CustomerData, after: Mapping[str, Any], follows: Mapping[str, Mapping[str, Any]], *, is_new: bool = False
) -> list[Claim]:
    """Return the identities that an item tells of. follows: those that are stored, of all staff."""
    mobiles: set[str] | None = None
    left: set[str] = set()
    if item.follows is not None:
        given = {follow.userid for follow in item.follows}
        mobiles = {mobile for follow in item.follows for mobile in follow.mobiles}
        if item.follows_within is not None:
            kept = set(follows) - item.follows_within - given
            left = {mobile for userid in kept for mobile in follows[userid]["mobiles"]} - mobiles
            mobiles |= left
        elif item.by_wecom:  # merged with what was there, whoever had written that
            left = mobiles & {mobile for follow in follows.values() for mobile in follow["mobiles"]}
    fields = {name: after[name] for name in IDENTITY_FIELDS if name in item.fields}
    return claims_of(item.external_userid, fields, mobiles, kept=left, is_new=is_new, is_weak=item.is_restricted)


def _require_own_rows(alias: str, items: Mapping[int, CustomerData]) -> None:
    there = Customer.objects.using(alias).filter(customer_id__in=list(items))
    owners = dict(there.values_list("customer_id", "external_userid"))
    taken = [customer_id for customer_id, owner in owners.items() if items[customer_id].external_userid != owner]
    if taken:
        logger.error("addresses_taken", home=sharding.home_of(taken[0]), customer_ids=taken[:10])
        raise AddressTakenError


def update_customers(home: int, items: Mapping[int, CustomerData], *, now: datetime) -> Written:
    """Change customers that exist; who is not there is told, never inserted.

    Nothing is written of a customer whom the data does not change, so a repeat bumps no version and empties no cache;
    but for stamps of having been read, which nobody is shown. Marked dirty is whose fields, follows or tags changed
    such that a rule or a segment could tell.
    Database: the home's, in one transaction, at most nine statements whatever the number.
    """
    written = Written()
    ids = sorted(items)
    with sharding.atomic_home(home) as alias, sharding.cursor(home) as cursor:
        stored = {
            row["customer_id"]: row
            for row in Customer.objects.using(alias)
            .filter(customer_id__in=ids)
            .order_by("customer_id")
            .select_for_update(no_key=True)
            .values("customer_id", "version", "synced_at", "read_at", *FIELDS)
        }
        written.missing = set(ids) - set(stored)
        with_follows = [i for i in stored if items[i].follows is not None or items[i].merge_follows is not None]
        with_tags = [i for i in stored if items[i].tag_ids is not None]
        all_follows = _stored_follows(alias, with_follows)
        follows = _within(items, all_follows)
        items = {i: items[i].with_follows(_as_data(follows.get(i, {}))) for i in stored}
        tags = _stored_tags(alias, with_tags)
        rows: list[dict[str, Any]] = []
        inputs_changed: set[int] = set()
        for customer_id, before in stored.items():
            item = items[customer_id]
            after = _after(before, item, now)
            refusal = _refusal(before, after, item, follows.get(customer_id, {}))
            if refusal:
                written.refused[customer_id] = refusal
                continue
            written.claims += _claims(item, after, all_follows.get(customer_id, {}))
            children = follows.get(customer_id, {}), tags.get(customer_id, set())
            changed = _what_differs(before, after, item, *children)
            if changed:
                written.changed[customer_id] = changed
                if item.read_at is not None and (before["read_at"] is None or before["read_at"] < item.read_at):
                    after["read_at"] = item.read_at
            else:
                written.unchanged.add(customer_id)
                if not _is_to_be_stamped(before, item, follows.get(customer_id, {})):
                    continue
                after["read_at"] = item.read_at or before["read_at"]
            if changed & COMPARED_FIELDS or (changed & {"follows", "tags"} and _inputs_differ(item, *children)):
                inputs_changed.add(customer_id)
            rows.append({**after, "only_stamp": not changed})
        if rows:
            ids = [row["customer_id"] for row in rows]
            cursor.execute(UPDATE, [now, _json(rows), _buckets(ids)])
            _write_children(cursor, {i: items[i] for i in ids}, follows, tags, now)
            mark_dirty(home, inputs_changed)
            drop_cached(home, [items[i].external_userid for i in written.changed])
    return written


def bump(home: int, customer_ids: Sequence[int]) -> dict[int, str]:
    """Lock customers and raise their version: step 1 for whoever writes other tables that a lookup shows.

    Returns {customer_id: external_userid} of those that exist, for drop_cached. Database: two statements, in the
    open transaction on the home.
    """
    with sharding.cursor(home) as cursor:
        cursor.execute(
            "SELECT customer_id FROM customers WHERE customer_id = ANY(%s) AND bucket = ANY(%s) "
            "ORDER BY customer_id FOR NO KEY UPDATE",
            [list(customer_ids), _buckets(customer_ids)],
        )
        cursor.execute(
            "UPDATE customers SET version = version + 1, updated_at = now() "
            "WHERE customer_id = ANY(%s) AND bucket = ANY(%s) RETURNING customer_id, external_userid",
            [list(customer_ids), _buckets(customer_ids)],
        )
        return dict(cursor.fetchall())


def _after(before: Mapping[str, Any], item: CustomerData, now: datetime) -> dict[str, Any]:
    given = {name: value for name, value in item.fields.items() if name in FIELDS}
    if item.read_at is not None and before["read_at"] is not None and item.read_at < before["read_at"]:
        given = {name: value for name, value in given.items() if name not in WECOM_FIELDS}
    after = {**before, **given}
    if item.merge_attributes and "attributes" in item.fields:
        after["attributes"] = merged_attributes(before["attributes"], item.fields["attributes"])
    if item.by_wecom and before["synced_at"] is None:
        after["synced_at"] = now
        after["read_at"] = item.read_at
    return after


def _refusal(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    item: CustomerData,
    follows: Mapping[str, Mapping[str, Any]],
) -> tuple[str, list[str]] | None:
    """Return why a customer cannot be changed so: a code and the fields it is about."""
    if item.if_version is not None and item.if_version != before["version"]:
        return "version_differs", []
    conflicts = wecom_conflicts(before, item)
    if before["synced_at"] and not item.by_wecom and _follows_differ(item, follows):
        conflicts.append("follows")
    if conflicts:
        return "owned_by_wecom", conflicts
    if item.merge_attributes and is_too_large(after["attributes"]):
        return "attributes_too_large", ["attributes"]
    return None


def _comparable(follow: FollowData) -> dict[str, Any]:
    """Return a follow as a row is read and written; what is None in KEPT stays as it is stored."""
    row = {name: getattr(follow, name) for name in FOLLOW_NAMES}
    row |= {"mobiles": list(follow.mobiles), "tag_ids": list(follow.tag_ids)}
    if follow.personal_tags is not None:
        row["personal_tags"] = [{"group": group, "name": name} for group, name in follow.personal_tags]
    if follow.lost_at is None:
        row["lost_by"] = ""
    return row


def _as_data(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, FollowData]:
    return {
        userid: FollowData(
            **{
                **row,
                "mobiles": tuple(row["mobiles"]),
                "tag_ids": tuple(row["tag_ids"]),
                "personal_tags": tuple((one.get("group", ""), one.get("name", "")) for one in row["personal_tags"]),
            }
        )
        for userid, row in rows.items()
    }


def _stored_follows(alias: str, ids: list[int]) -> dict[int, dict[str, dict[str, Any]]]:
    found: dict[int, dict[str, dict[str, Any]]] = {}
    if ids:
        for customer_id, *values in (
            Follow.objects.using(alias).filter(customer_id__in=ids).values_list("customer_id", *FOLLOW_NAMES)
        ):
            row = dict(zip(FOLLOW_NAMES, values, strict=True))
            found.setdefault(customer_id, {})[row["userid"]] = row
    return found


def _within(
    items: Mapping[int, CustomerData], follows: Mapping[int, Mapping[str, dict[str, Any]]]
) -> dict[int, dict[str, dict[str, Any]]]:
    """Leave out the follows that a writer may neither see nor replace."""
    return {
        customer_id: {
            userid: row
            for userid, row in by_staff.items()
            if items[customer_id].follows_within is None or userid in (items[customer_id].follows_within or ())
        }
        for customer_id, by_staff in follows.items()
    }


def _stored_tags(alias: str, ids: list[int]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    if ids:
        for customer_id, tag_id in (
            CustomerTag.objects.using(alias).filter(customer_id__in=ids).values_list("customer_id", "tag_id")
        ):
            found.setdefault(customer_id, set()).add(tag_id)
    return found


def _follow_differs(stored: Mapping[str, Any] | None, given: Mapping[str, Any], *, but: Iterable[str] = ()) -> bool:
    if stored is None:
        return True
    return any(
        stored[name] != value
        for name, value in given.items()
        if not (name in KEPT and value is None) and name not in but
    )


def _follows_differ(
    item: CustomerData, follows: Mapping[str, Mapping[str, Any]], *, but: Iterable[str] = STAMPS
) -> bool:
    if item.follows is None:
        return False
    given = {follow.userid: _comparable(follow) for follow in item.follows}
    return set(given) != set(follows) or any(
        _follow_differs(follows[userid], given[userid], but=but) for userid in given
    )


def _what_differs(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    item: CustomerData,
    follows: Mapping[str, Mapping[str, Any]],
    tags: set[str],
) -> frozenset[str]:
    """Return the names of what an item changes of a customer, follows and tags among them."""
    changed = {name for name in (*FIELDS, "synced_at") if after[name] != before[name]}
    if "attributes" not in changed and not is_same(after["attributes"], before["attributes"]):
        changed.add("attributes")
    if _follows_differ(item, follows):
        changed.add("follows")
    if item.tag_ids is not None and set(item.tag_ids) != tags:
        changed.add("tags")
    return frozenset(changed)


def _is_to_be_stamped(before: Mapping[str, Any], item: CustomerData, follows: Mapping[str, Mapping[str, Any]]) -> bool:
    """Tell whether somebody whom an item does not change is to be stamped as read."""
    is_newer = item.read_at is not None and (before["read_at"] is None or before["read_at"] < item.read_at)
    return item.stamps_read and (is_newer or _follows_differ(item, follows, but=()))


def _inputs_differ(item: CustomerData, follows: Mapping[str, Mapping[str, Any]], tags: set[str]) -> bool:
    """Tell whether a rule or a segment could tell the difference: by live follows, tags on them, our own tags."""
    if item.tag_ids is not None and set(item.tag_ids) != tags:
        return True
    if item.follows is None:
        return False
    live_before = {userid: row for userid, row in follows.items() if row["lost_at"] is None}
    live_after = {follow.userid: follow for follow in item.follows if follow.lost_at is None}
    if live_before.keys() != live_after.keys():
        return True
    if _tags_on(row["tag_ids"] for row in live_before.values()) != _tags_on(one.tag_ids for one in live_after.values()):
        return True
    return any(_begins_differently(live_before[userid], follow) for userid, follow in live_after.items())


def _tags_on(lists: Iterable[Iterable[str]]) -> set[str]:
    return set().union(*lists)


def _begins_differently(before: Mapping[str, Any], after: FollowData) -> bool:
    """Tell whether the same two have come together in another way, or at another time."""
    if (before["add_way"], before["state"]) != (after.add_way, after.state):
        return True
    return after.created_at is not None and after.created_at != before["created_at"]


def _write_children(
    cursor: Any,
    items: Mapping[int, CustomerData],
    follows: Mapping[int, Mapping[str, Any]],
    tags: Mapping[int, set[str]],
    now: datetime,
) -> None:
    """Bring follows and own tags to what items say; items that do not name them keep theirs."""
    put, gone, tags_put, tags_gone = [], [], [], []
    for customer_id, item in items.items():
        if item.follows is not None:
            there = follows.get(customer_id, {})
            given = {follow.userid: _comparable(follow) for follow in item.follows}
            for userid, row in given.items():
                if _follow_differs(there.get(userid), row):
                    put.append({"customer_id": customer_id, **row, **_kept(row, there.get(userid, NEW_FOLLOW))})
            gone += [{"customer_id": customer_id, "userid": userid} for userid in there if userid not in given]
        if item.tag_ids is not None:
            owned = tags.get(customer_id, set())
            tags_put += [{"customer_id": customer_id, "tag_id": tag} for tag in set(item.tag_ids) - owned]
            tags_gone += [{"customer_id": customer_id, "tag_id": tag} for tag in owned - set(item.tag_ids)]
    if put:
        cursor.execute(INSERT_FOLLOWS, [now, _json(put)])
    if gone:
        cursor.execute(DELETE_FOLLOWS, [_json(gone), _buckets(items)])
    if tags_put:
        cursor.execute(INSERT_TAGS, [now, _json(tags_put)])
    if tags_gone:
        cursor.execute(DELETE_TAGS, [_json(tags_gone), _buckets(items)])


def _kept(row: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a follow keeps where nothing else was given."""
    return {name: stored[name] if row[name] is None else row[name] for name in KEPT}


def _buckets(customer_ids: Iterable[int]) -> list[int]:
    return sorted({sharding.bucket_of(customer_id) for customer_id in customer_ids})


def _json(rows: Sequence[Mapping[str, Any]]) -> str:
    return orjson.dumps(rows).decode()
