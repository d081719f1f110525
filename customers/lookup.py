"""Look a customer up by external_userid: cache, else directory, else department database, then fill.

The cached value is JSON under `wxwork_customer:{external_userid}`; other systems read it too:

    {"customer_id": 1000000000042, "external_userid": "wmEAAA", "home": 100, "name": "王小明", …,
     "mobile": "138****5678",                                  mobiles are masked
     "follows": [{"userid": …, "mobiles": ["139****0000"], "tag_ids": ["et1"],
                  "lost_at": null, "lost_by": "",                 lost_by: see Follow.LostBy
                  "personal_tags": [{"group": "个人标签", "name": "喜欢白茶"}], …}],
     "tag_ids": ["et1", "et2"],                                ids; names come from the tag library
     "total_amount": "128.00", "last_purchase_at": "2026-01-31T18:20:00+08:00", …}

Figures are those of the last classification. docs/read-through.md has the protocol.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from django.conf import settings
from django.db.models import Q

from customers.identity import is_external_userid, mask_mobile
from customers.models import CustomerAlias, DirectoryEntry
from scrm import sharding
from scrm.cache import Loaded, ReadThrough, redis_client

KEY_PREFIX = "wxwork_customer:"

COLUMNS = (
    "customer_id, external_userid, name, avatar, type, gender, unionid, corp_name, position, mobile, attributes, "
    "synced_at, version, created_at, updated_at, profile, profile_updated_at, lifecycle, purchase_count, "
    "interaction_count, total_amount, last_purchase_at, last_interaction_at"
)
# The row lock is taken first and the rest is read by a later statement: its snapshot is then newer than any write that
# could have changed the rest before the lock (READ COMMITTED). Losing this read in a crash loses nothing.
LOCKED_ROW = f"""
SELECT {COLUMNS}, set_config('synchronous_commit', 'off', true) FROM customers
WHERE customer_id = %s AND bucket = %s FOR SHARE SKIP LOCKED
"""  # noqa: S608 - the columns are constants
CHILDREN = """
(SELECT COALESCE(json_agg(json_build_object('userid', userid, 'remark', remark, 'description', description,
        'mobiles', mobiles, 'add_way', add_way, 'state', state, 'created_at', created_at, 'lost_at', lost_at,
        'lost_by', lost_by, 'tag_ids', tag_ids, 'personal_tags', personal_tags) ORDER BY created_at, userid), '[]')
 FROM follows WHERE customer_id = %(id)s AND bucket = %(bucket)s),
(SELECT COALESCE(json_agg(tag_id ORDER BY tag_id), '[]')
 FROM customer_tags WHERE customer_id = %(id)s AND bucket = %(bucket)s)
"""
REST = f"SELECT {CHILDREN}"
PLAIN_ROW = f"SELECT {COLUMNS}, NULL, {CHILDREN} FROM customers WHERE customer_id = %(id)s AND bucket = %(bucket)s"  # noqa: S608
NAMES = [name.strip() for name in COLUMNS.split(",")]
TIMES = ("synced_at", "created_at", "updated_at", "profile_updated_at", "last_purchase_at", "last_interaction_at")


def find_customer(customer_id: int) -> tuple[dict[str, Any] | None, bool]:
    """Read a customer at an address, follows and tags included, mobiles in clear.

    Returns (the customer or None, whether the row was free, so that what was read may be cached).
    Database: two queries on the home's, in one transaction. Raises UnknownHomeError, HomeUnavailableError.
    """
    where = {"id": customer_id, "bucket": sharding.bucket_of(customer_id)}
    with sharding.atomic(customer_id), sharding.cursor(sharding.home_of(customer_id)) as cursor:
        cursor.execute(LOCKED_ROW, [where["id"], where["bucket"]])
        row = cursor.fetchone()
        is_free = row is not None
        cursor.execute(REST if is_free else PLAIN_ROW, where)
        rest = cursor.fetchone()
    if rest is None:
        return None, False  # erased, or moved away, since the directory was read
    row = (*row, *rest) if is_free else rest
    follows, own_tags = row[-2:]
    return {**from_row(row), **related(follows, own_tags)}, is_free


def from_row(row: Sequence[Any]) -> dict[str, Any]:
    """Return what a row that begins with COLUMNS says, and the home."""
    customer = dict(zip(NAMES, row, strict=False))
    # Django has psycopg hand jsonb out as text.
    return {**customer, "attributes": orjson.loads(customer["attributes"]), "home": sharding.home_of(row[0])}


def related(follows: list[dict[str, Any]], own_tags: list[str]) -> dict[str, Any]:
    for follow in follows:
        follow["created_at"] = _time(datetime.fromisoformat(follow["created_at"]))
        follow["lost_at"] = follow["lost_at"] and _time(datetime.fromisoformat(follow["lost_at"]))
    tags = set(own_tags).union(*(follow["tag_ids"] for follow in follows if follow["lost_at"] is None))
    return {"follows": follows, "own_tag_ids": own_tags, "tag_ids": sorted(tags)}


def _time(moment: datetime | None) -> str | None:
    return moment.astimezone(ZoneInfo(settings.TIME_ZONE)).isoformat() if moment else None


def shown(customer: dict[str, Any], *, mask: bool = True) -> dict[str, Any]:
    """Return a customer as plain JSON values: times as ISO 8601 text with offset, money as text, mobiles masked."""
    hide = mask_mobile if mask else str
    values = {**customer, "mobile": hide(customer["mobile"]), "total_amount": str(customer["total_amount"])}
    values["follows"] = [{**f, "mobiles": [hide(m) for m in f["mobiles"]]} for f in customer["follows"]]
    for name in TIMES:
        values[name] = _time(customer[name])
    return values


def encode(customer: dict[str, Any]) -> bytes:
    """Return the cached form of a customer: JSON, mobiles masked."""
    return orjson.dumps(shown(customer))


def find_entry(external_userid: str) -> DirectoryEntry | None:
    """Return the directory's row of a person. Database: at most one query on the control database."""
    # What cannot be an id is nobody's: no database needs to be asked, and PostgreSQL would refuse a NUL.
    if not is_external_userid(external_userid):
        return None
    return DirectoryEntry.objects.filter(external_userid=external_userid).first()


def read(external_userid: str) -> tuple[dict[str, Any] | None, bool]:
    """Read a customer from the databases: (the customer or None, whether that may be cached).

    Database: one query on the control database, two on the home's; again when the customer moved in between.
    """
    entry = find_entry(external_userid)
    if entry is None:
        return None, True
    while entry is not None and entry.state in (DirectoryEntry.State.LIVE, DirectoryEntry.State.MOVING):
        customer, is_free = find_customer(entry.customer_id)
        if customer is None and entry.target_customer_id:
            customer, is_free = find_customer(entry.target_customer_id)
        if customer is not None:
            return customer, is_free and entry.state == DirectoryEntry.State.LIVE
        before, entry = entry, find_entry(external_userid)
        # They may have moved out of the old address before the directory names the new one alone.
        if entry is not None and _addresses(entry) == _addresses(before):
            break  # a row that is lost: the sweep will see to it
    return None, False


def _addresses(entry: DirectoryEntry) -> tuple[int, int | None]:
    return entry.customer_id, entry.target_customer_id


def load(external_userid: str) -> Loaded:
    """Load what the cache does not have. Database: see read."""
    customer, may_fill = read(external_userid)
    return Loaded(encode(customer) if customer else None, may_fill=may_fill)


CACHE = ReadThrough(
    redis_client, prefix=KEY_PREFIX, ttl_seconds=settings.CUSTOMER_CACHE_SECONDS, negative_ttl_seconds=10, load=load
)


def resolve_alias(customer_id: int) -> int:
    """Return where a customer_id lives today, following what moves left behind.

    Database: one query on the control database.
    """
    moved_to = CustomerAlias.objects.filter(old_customer_id=customer_id).values_list("customer_id", flat=True).first()
    return moved_to or customer_id


def find_external_userid(customer_id: int) -> str | None:
    """Return whose address a customer_id is, or was before a move. Database: one query on the control database."""
    moved = CustomerAlias.objects.filter(old_customer_id=customer_id).values("customer_id")
    return (
        DirectoryEntry.objects.filter(Q(customer_id=customer_id) | Q(customer_id__in=moved))
        .values_list("external_userid", flat=True)
        .first()
    )
