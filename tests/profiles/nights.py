"""Make many customers at once, run nights, and look at what came of it."""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any

import psycopg

from customers.models import Customer, DirtyCustomer, ProfileCount
from profiles import publishing, runs
from profiles.models import ProfileHistory, ProfileReview, ProfileRun
from profiles.rules import Rule, Settings, parse_conditions
from scrm import sharding
from tests.databases import url_of

TODAY = date(2026, 11, 20)
FIGURES = ("purchase_count", "interaction_count", "total_amount", "last_purchase_at", "last_interaction_at")

CUSTOMERS = """
INSERT INTO customers (customer_id, bucket, external_userid, name, avatar, type, gender, corp_name, position, mobile,
    attributes, version, created_at, updated_at, purchase_count, interaction_count, total_amount)
SELECT %(home)s * 10000000000 + n, n %% 10, 'wm' || %(home)s || '-' || n, '', '', 1, 0, '', '', '', '{}', 1, now(),
    now(), 0, 0, 0
FROM generate_series(%(first)s::int, %(last)s::int, %(step)s) AS n
"""
DAILY = """
INSERT INTO daily_totals (customer_id, bucket, day, purchase_count, purchase_amount, refund_count, refund_amount,
    interaction_count, last_purchase_at, last_interaction_at)
SELECT %(home)s * 10000000000 + n, n %% 10, %(day)s, {purchases}, ({purchases}) * 10, 0, 0, {interactions},
    CASE WHEN {purchases} > 0 THEN %(day)s::date + interval '4 hours' END,
    CASE WHEN {interactions} > 0 THEN %(day)s::date + interval '5 hours' END
FROM generate_series(%(first)s::int, %(last)s::int, %(step)s) AS n
"""
RUNNING = """
INSERT INTO running_totals (customer_id, bucket, purchase_count, purchase_amount, refund_count, refund_amount,
    interaction_count, last_purchase_at, last_interaction_at, first_day, last_day, purchase_days, first_purchase_day,
    first_purchase_amount)
SELECT customer_id, bucket, sum(purchase_count), sum(purchase_amount), 0, 0, sum(interaction_count),
    max(last_purchase_at), max(last_interaction_at), min(day), max(day), count(*) FILTER (WHERE purchase_count > 0),
    min(day) FILTER (WHERE purchase_count > 0),
    COALESCE((array_agg(purchase_amount ORDER BY day) FILTER (WHERE purchase_count > 0))[1], 0)
FROM daily_totals WHERE customer_id BETWEEN %(home)s * 10000000000 + %(first)s AND %(home)s * 10000000000 + %(last)s
GROUP BY customer_id, bucket
"""


def crowd(
    home: int,
    count: int,
    *,
    bucket: int | None = None,
    purchases: int | str = 6,
    interactions: int | str = 11,
    day: date = date(2026, 11, 1),
) -> None:
    """Put customers with totals of one day into a home, behind the directory's back: numbers 1, 2, … of it, or 10,
    20, … beyond a bucket's. purchases, interactions: a number, or an expression of a customer's number n.
    """
    first, step = (1, 1) if bucket is None else (bucket, 10)
    keys = {"home": home, "first": first, "last": first + (count - 1) * step, "step": step, "day": day}
    with psycopg.connect(url_of(sharding.alias(home)), cursor_factory=psycopg.ClientCursor) as connection:
        for statement in (CUSTOMERS, DAILY.format(purchases=purchases, interactions=interactions), RUNNING):
            connection.execute(statement, keys)
        connection.execute("SELECT setval('customer_ids', GREATEST(%(last)s, nextval('customer_ids')))", keys)


def run(as_of: date = TODAY, kind: str = "manual", **options: Any) -> ProfileRun:
    """Start a run and do all of it."""
    return runs.run_all(runs.start_run(kind, as_of, **options))


def publish(*rules: str, default: str = "其他", settings: Settings | None = None) -> int:
    """Put rules in force, each `class: conditions`. Returns the version."""
    parsed = []
    for rule in rules:
        profile, _, conditions = rule.partition(":")
        parsed.append(Rule(profile, parse_conditions(conditions.strip())))
    return publishing.publish(publishing.save_draft(parsed, default, settings=settings).version, by="test").version


def stored(homes: Iterable[int] = (100, 101)) -> dict[str, dict[str, Any]]:
    """Return {external_userid: what is stored of the customer, review_on included}."""
    found: dict[str, dict[str, Any]] = {}
    for home in homes:
        alias = sharding.alias(home)
        reviews = dict(ProfileReview.objects.using(alias).values_list("customer_id", "review_on"))
        for row in Customer.objects.using(alias).values(
            "customer_id", "external_userid", "profile", "lifecycle", "version", *FIGURES
        ):
            row["review_on"] = reviews.get(row.pop("customer_id"))
            found[row.pop("external_userid")] = row
    return found


def classes(homes: Iterable[int] = (100, 101)) -> dict[str, str | None]:
    """Return {external_userid: class}, by name."""
    return {name: row["profile"] for name, row in sorted(stored(homes).items())}


def history(homes: Iterable[int] = (100, 101)) -> list[dict[str, Any]]:
    """Return all history rows in order of run and customer."""
    rows = [row for home in homes for row in ProfileHistory.objects.using(sharding.alias(home)).values()]
    return sorted(rows, key=lambda row: (row["run_id"], row["customer_id"]))


def counts(homes: Iterable[int] = (100, 101)) -> dict[str, int]:
    """Return {class: customers} as the runs have counted them; classes without customers are left out."""
    total: dict[str, int] = {}
    for home in homes:
        for row in ProfileCount.objects.using(sharding.alias(home)):
            total[row.profile] = total.get(row.profile, 0) + row.customers
    return {name: customers for name, customers in total.items() if customers}


def dirty(homes: Iterable[int] = (100, 101)) -> set[int]:
    """Return the customer_ids that are marked."""
    return {
        customer_id
        for home in homes
        for customer_id in DirtyCustomer.objects.using(sharding.alias(home)).values_list("customer_id", flat=True)
    }


def yuan(text: str) -> Decimal:
    return Decimal(text)
