"""How many customers a filter would hold, while it is being edited: judged on real data, for two seconds at most.

    all looked at        the exact number
    deadline passed      at least as many as were found, and an estimate from the share that was looked at

Buckets are a fair sample of a home, as they go by the last digit of a number that goes up, and of each bucket the
first customers are looked at first: the estimate favours who came early. Nothing is locked and nothing is written.
"""

from dataclasses import dataclass
from datetime import date
from time import monotonic

from customers.access import EVERYTHING, Scope
from profiles import columns
from profiles.facts import FactReader
from profiles.rules import CentFacts, Filter, holds
from profiles.segments.part import as_of_now
from scrm import sharding
from scrm.sharding.ids import BUCKETS

SECONDS = 2.0
BLOCK_SIZE = 10_000
ALL_VISIBLE = "SELECT count(*) FROM customers WHERE {}"
VISIBLE = "SELECT count(*) FROM customers WHERE customer_id = ANY(%s::bigint[]) AND bucket = %s AND {}"


@dataclass
class Preview:
    """found: of the customers looked at, those whom the filter holds. customers: all there are (in homes that answer).

    Who is not in scope counts in none of the three.

    unavailable: homes that could not be asked; of their customers nothing is known.
    """

    found: int
    looked_at: int
    customers: int
    unavailable: list[int]

    @property
    def is_exact(self) -> bool:
        return self.looked_at >= self.customers

    @property
    def estimate(self) -> int:
        """How many it probably is, of all customers in homes that answered.

        >>> Preview(10, 1000, 3000, []).estimate, Preview(10, 1000, 1000, []).estimate, Preview(0, 0, 5, []).estimate
        (30, 10, 0)
        """
        if self.is_exact or not self.looked_at:
            return self.found
        return round(self.found * self.customers / self.looked_at)


def preview(filter_: Filter, *, scope: Scope = EVERYTHING, seconds: float = SECONDS) -> Preview:
    """Count whom a filter holds, over all homes, of those in scope.

    Database: of each home, at once, what reading its customers block by block takes until the deadline: one block goes
    on to its end. Raises nothing for a home that is down.
    """
    import numpy  # noqa: F401 - a process's first count would spend its time on loading these
    import pandas  # noqa: F401

    until, as_of = monotonic() + seconds, as_of_now()
    answers = sharding.fan_out(lambda home: _preview_home(home, filter_, scope, as_of, until))
    sums = [sum(parts) for parts in zip(*answers.results.values(), strict=True)] or [0, 0, 0]
    return Preview(sums[0], sums[1], sums[2], answers.unavailable)


def _preview_home(home: int, filter_: Filter, scope: Scope, as_of: date, until: float) -> tuple[int, int, int]:
    found = looked_at = 0
    for bucket in range(BUCKETS):
        reader = FactReader(home, bucket, as_of, filter_.needs)
        after = 0
        while monotonic() < until:
            picked = reader.pick(after, BLOCK_SIZE)
            if picked is None:
                break
            block = reader.read_picked(picked)
            if len(block):
                facts = CentFacts(block.facts, customer_id=block.column["customer_id"])
                ids = block.column["customer_id"][holds(filter_, facts, as_of)]
                found += _count(home, bucket, ids.tolist(), scope)
            looked_at += _count(home, bucket, block.column["customer_id"].tolist(), scope)
            after = picked.last
            if picked.is_last:
                break
        else:
            return found, looked_at, max(_customers(home, scope), looked_at + 1)
    # All of them: whoever has come or gone meanwhile makes it no less exact.
    return found, looked_at, looked_at


def _count(home: int, bucket: int, ids: list[int], scope: Scope) -> int:
    if scope.is_everything or not ids:
        return len(ids)
    condition, params = scope.sql(home)
    with sharding.cursor(home) as cursor:
        cursor.execute(VISIBLE.format(condition), [columns.array(ids), bucket, *params])
        return int(cursor.fetchone()[0])


def _customers(home: int, scope: Scope) -> int:
    with sharding.cursor(home) as cursor:
        if not scope.is_everything:
            condition, params = scope.sql(home)
            cursor.execute(ALL_VISIBLE.format(condition), params)
            return int(cursor.fetchone()[0])
        # Good enough for an estimate: the statistics of the tables, kept by autovacuum, counted where there are none.
        cursor.execute(
            "SELECT COALESCE(sum(GREATEST(reltuples, 0)), 0)::bigint, bool_or(reltuples < 0) FROM pg_class "
            "WHERE relname ~ '^customers_[0-9]$' AND relkind = 'r'"
        )
        estimated, is_unknown = cursor.fetchone()
        if not is_unknown:
            return int(estimated)
        cursor.execute("SELECT count(*) FROM customers")
        return int(cursor.fetchone()[0])
