"""A base of buyers that RFM and a value model can be made of, and what runs made of it."""

import random
from datetime import date
from typing import Any

import psycopg

from profiles.models import CustomerScore, FactHistory
from scrm import sharding
from tests.databases import url_of
from tests.profiles.nights import CUSTOMERS, RUNNING

HOMES = (100, 101)
PURCHASES = """
INSERT INTO daily_totals (customer_id, bucket, day, purchase_count, purchase_amount, refund_count, refund_amount,
    interaction_count, last_purchase_at)
SELECT %(home)s * 10000000000 + n, n %% 10, %(day)s::date - ago, 1, yuan, 0, 0, 0,
    %(day)s::date - ago + interval '4 hours'
FROM unnest(%(numbers)s::int[], %(ago)s::int[], %(yuan)s::int[]) AS g (n, ago, yuan)
"""


def _purchases(number: int) -> dict[int, int]:
    """Return {days ago: yuan} of somebody who buys at a rate of their own, until they are lost: as BG/NBD has it."""
    chance = random.Random(number)
    since, rate, lost = chance.randint(1, 300), chance.gammavariate(0.8, 1 / 40), chance.betavariate(1, 2)
    mean = int(20 + 200 * chance.betavariate(2, 5))
    found = {since: mean}
    while chance.random() > lost:
        since -= max(1, round(chance.expovariate(rate)))
        if since < 1:
            break
        found[since] = int(mean * chance.uniform(0.5, 1.5))
    return found


def buyers(home: int, count: int, *, as_of: date, bucket: int | None = None) -> None:
    """Put buyers with totals of many days into a home, behind the directory's back: numbers 1, 2, …, or a bucket's."""
    first, step = (1, 1) if bucket is None else (bucket, 10)
    last = first + (count - 1) * step
    bought = [(n, ago, yuan) for n in range(first, last + 1, step) for ago, yuan in _purchases(n * home).items()]
    numbers, ago, yuan = (list(column) for column in zip(*bought, strict=True))
    keys: dict[str, Any] = {"home": home, "first": first, "last": last, "step": step, "day": as_of, "numbers": numbers}
    keys |= {"ago": ago, "yuan": yuan}
    with psycopg.connect(url_of(sharding.alias(home)), cursor_factory=psycopg.ClientCursor) as connection:
        for statement in (CUSTOMERS, PURCHASES, RUNNING):
            connection.execute(statement, keys)
        connection.execute("SELECT setval('customer_ids', GREATEST(%(last)s, nextval('customer_ids')))", keys)


def scores(homes: tuple[int, ...] = HOMES) -> dict[int, dict[str, Any]]:
    """Return {customer_id: score}."""
    rows = [row for home in homes for row in CustomerScore.objects.using(sharding.alias(home)).values()]
    return {row.pop("customer_id"): row for row in rows}


def facts(*names: str, homes: tuple[int, ...] = HOMES) -> list[dict[str, Any]]:
    """Return the history of facts in order of run and customer; of all but lifecycle unless named."""
    wanted = names or ("rfm_segment", "loss_warning")
    rows = [
        row
        for home in homes
        for row in FactHistory.objects.using(sharding.alias(home)).filter(fact__in=wanted).values()
    ]
    return sorted(rows, key=lambda row: (row["run_id"], row["customer_id"], row["fact"]))


def without_run(found: dict[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    return {customer_id: {**row, "run_id": None} for customer_id, row in found.items()}
