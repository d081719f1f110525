"""A large base, made inside PostgreSQL from a seed: the same customers and behaviours at every run.

Each customer has min(500, ⌊3·u^-0.7⌋) behaviours, u uniform from a hash of their number: a Zipf-like tail with a mean
near 10, where half have fewer than 5 and one in a thousand has hundreds. A third are purchases. Days are uniform over
the last 320. behaviour_keys stay empty (no night reads them); foreign keys are not checked while loading.
"""

from datetime import date, timedelta

from django.core.management import call_command
from django.db import connections

from customers.lookup import CACHE
from scrm import sharding
from scrm.sharding.backend.base import DatabaseWrapper

SEED = 20_260_101
DAYS = 320
TABLES = (
    "profile_history", "profile_reviews", "dirty_customers", "behaviour_keys", "behaviours", "daily_totals",
    "running_totals", "notes", "customer_tags", "follows", "bucket_states", "run_claims", "profile_counts",
    "cache_deletions",
)  # fmt: skip

CUSTOMERS = """
INSERT INTO customers (customer_id, bucket, external_userid, name, avatar, type, gender, corp_name, position, mobile,
    attributes, version, created_at, updated_at, profile, purchase_count, interaction_count, total_amount)
SELECT id, id % 10, 'wmBENCH' || id, '客户' || n, '', 1, 0, '', '', '', '{{}}', 1, now(), now(), '{before}', 0, 0, 0
FROM (SELECT n, {first} + n AS id FROM generate_series(1, {customers}) AS n) AS numbered
"""
BEHAVIOURS = """
INSERT INTO behaviours (customer_id, bucket, source, event_id, kind, channel, amount, occurred_at, undoes_purchase,
    received_at)
SELECT id, id % 10, 'bench', id || '-' || k,
    CASE WHEN h % 3 = 0 THEN 'purchase' ELSE 'interaction' END, 'store',
    CASE WHEN h % 3 = 0 THEN (h % 50000)::numeric / 100 ELSE 0 END,
    (date '{last}' - (h / 7 % {days})::int + time '12:00') AT TIME ZONE 'Asia/Shanghai', false, now()
FROM (
    SELECT id, k, (hashint8extended(id, {seed} + k) & 2147483647) AS h FROM (
        SELECT {first} + n AS id, LEAST(500, floor(3 * power(
            ((hashint8extended(n, {seed}) & 2147483647) + 1) / 2147483648.0, -0.7)))::int AS many
        FROM generate_series(1, {customers}) AS n
    ) AS counted, generate_series(1, many) AS k
) AS drawn
"""
DAILY = """
INSERT INTO daily_totals (customer_id, bucket, day, purchase_count, purchase_amount, refund_count, refund_amount,
    interaction_count, last_purchase_at, last_interaction_at)
SELECT customer_id, bucket, (occurred_at AT TIME ZONE 'Asia/Shanghai')::date, count(*) FILTER (WHERE kind = 'purchase'),
    COALESCE(sum(amount) FILTER (WHERE kind = 'purchase'), 0), 0, 0, count(*) FILTER (WHERE kind = 'interaction'),
    max(occurred_at) FILTER (WHERE kind = 'purchase'), max(occurred_at) FILTER (WHERE kind = 'interaction')
FROM behaviours GROUP BY 1, 2, 3
"""
RUNNING = """
INSERT INTO running_totals (customer_id, bucket, purchase_count, purchase_amount, refund_count, refund_amount,
    interaction_count, last_purchase_at, last_interaction_at, first_day, last_day, purchase_days, first_purchase_day,
    first_purchase_amount)
SELECT customer_id, bucket, sum(purchase_count), sum(purchase_amount), 0, 0, sum(interaction_count),
    max(last_purchase_at), max(last_interaction_at), min(day), max(day), count(*) FILTER (WHERE purchase_count > 0),
    min(day) FILTER (WHERE purchase_count > 0),
    COALESCE((array_agg(purchase_amount ORDER BY day) FILTER (WHERE purchase_count > 0))[1], 0)
FROM daily_totals GROUP BY 1, 2
"""
BEFORE = "旧分类"


def empty() -> None:
    """Take everybody away."""
    with connections["default"].cursor() as cursor:
        cursor.execute("TRUNCATE directory, profiles_profilerun CASCADE")
    for home in sharding.shard_map().homes:
        _truncate(home, (*TABLES, "customers"))
    CACHE.client.call("FLUSHDB")


def empty_behaviours() -> None:
    """Take away what everybody did."""
    for home in sharding.shard_map().homes:
        _truncate(home, ("behaviour_keys", "behaviours", "daily_totals", "running_totals", "dirty_customers"))


def _truncate(home: int, tables: tuple[str, ...]) -> None:
    with sharding.atomic_home(home), sharding.cursor(home) as cursor:
        cursor.execute(f"TRUNCATE {', '.join(tables)} CASCADE")


def make_base(customers: int, as_of: date) -> int:
    """Replace what is there by `customers` customers over all homes. Returns how many behaviours they have."""
    call_command("migrate_shards", verbosity=0)
    homes = sharding.shard_map().homes
    share = customers // len(homes)
    empty()
    made = sharding.fan_out(lambda home: _fill(home, share, as_of))
    if made.unavailable:
        raise RuntimeError(f"Homes {made.unavailable} cannot be reached.")
    with connections["default"].cursor() as cursor:
        for home in homes:
            cursor.execute(
                "INSERT INTO directory (external_userid, customer_id, state, changed_at) "
                "SELECT 'wmBENCH' || id, id, 'live', now() FROM generate_series(%s::bigint, %s::bigint) AS id",
                [home * 10**10 + 1, home * 10**10 + share],
            )
        cursor.execute("VACUUM ANALYZE directory")
    return sum(made.results.values())


def _fill(home: int, customers: int, as_of: date) -> int:
    connection = connections[sharding.alias(home)]
    assert isinstance(connection, DatabaseWrapper)
    values = {"first": home * 10**10, "customers": customers, "seed": SEED, "days": DAYS, "before": BEFORE,
              "last": as_of - timedelta(days=1)}  # fmt: skip
    with connection.read_write_session(), connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        for statement in (CUSTOMERS, BEHAVIOURS, DAILY, RUNNING):
            cursor.execute(statement.format(**values))
        cursor.execute("SELECT setval('customer_ids', %s)", [customers])
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")
        cursor.execute("SELECT count(*) FROM behaviours")
        (count,) = cursor.fetchone()
    return int(count)


def unclassify(home: int) -> None:
    """Put everybody of a home into a class that no rule gives, as if the night had not been, and tidy up."""
    connection = connections[sharding.alias(home)]
    assert isinstance(connection, DatabaseWrapper)
    with connection.read_write_session(), connection.cursor() as cursor:
        cursor.execute("TRUNCATE profile_history, bucket_states, profile_counts, dirty_customers")
        cursor.execute(
            "INSERT INTO profile_counts (bucket, profile, customers) "
            "SELECT bucket, %s, count(*) FROM customers GROUP BY 1",
            [BEFORE],
        )
        cursor.execute(
            "UPDATE customers SET profile = %s, purchase_count = 0, interaction_count = 0, total_amount = 0, "
            "last_purchase_at = NULL, last_interaction_at = NULL",
            [BEFORE],
        )
    tidy(home)


def tidy(home: int) -> None:
    """Do at once what autovacuum does in the hours between two nights: else it runs beside the next measurement."""
    connection = connections[sharding.alias(home)]
    assert isinstance(connection, DatabaseWrapper)
    with connection.read_write_session(), connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")
