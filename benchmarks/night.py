"""The night: our run against the article's loop and against one hand-written SQL statement per home."""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db import connections
from django.utils import timezone

from benchmarks import data
from benchmarks.ground import Results, timed
from customers.lookup import CACHE
from customers.models import Customer
from profiles.behaviours import record_behaviours
from profiles.models import Behaviour, ProfileRun
from profiles.runs import run_all, start_run
from scrm import sharding

LOOP_CUSTOMERS = 2_000
# What a night writes, said by hand: classes, figures, version and history, from the daily totals.
BY_HAND = """
WITH totals AS (
    SELECT customer_id, sum(purchase_count - refund_count) AS purchases, sum(interaction_count) AS interactions,
        sum(purchase_amount - refund_amount) AS amount, max(last_purchase_at) AS last_purchase,
        max(last_interaction_at) AS last_interaction
    FROM daily_totals WHERE day < %(as_of)s GROUP BY customer_id
), judged AS (
    SELECT c.customer_id, c.bucket, c.profile AS before, COALESCE(purchases, 0) AS purchases,
        COALESCE(interactions, 0) AS interactions, COALESCE(amount, 0) AS amount, last_purchase, last_interaction,
        CASE WHEN purchases > 5 AND interactions > 10 THEN '高价值客户' ELSE '潜在客户' END AS after
    FROM customers c LEFT JOIN totals USING (customer_id)
), written AS (
    UPDATE customers c SET profile = after, profile_updated_at = now(), updated_at = now(), version = version + 1,
        purchase_count = purchases, interaction_count = interactions, total_amount = amount,
        last_purchase_at = last_purchase, last_interaction_at = last_interaction
    FROM judged j WHERE c.customer_id = j.customer_id AND c.bucket = j.bucket AND (
        c.profile IS DISTINCT FROM after OR c.purchase_count <> purchases OR c.interaction_count <> interactions
        OR c.total_amount <> amount)
    RETURNING c.customer_id, c.bucket, j.before, j.after, j.purchases, j.interactions, j.amount
)
INSERT INTO profile_history (customer_id, bucket, run_id, as_of, at, from_profile, to_profile, rule_version,
    rule_position, purchase_count, interaction_count, total_amount)
SELECT customer_id, bucket, %(run)s, %(as_of)s, now(), before, after, 1, CASE after WHEN '高价值客户' THEN 1 ELSE 0 END,
    purchases, interactions, amount
FROM written WHERE before IS DISTINCT FROM after
"""


def measure(results: Results, customers: int) -> None:
    """Measure full nights, an idle one, and one with 1 % of the customers touched."""
    as_of = timezone.localdate()
    homes = sharding.shard_map().homes
    began = time.perf_counter()
    behaviours = data.make_base(customers, as_of)
    results.note(
        f"Base: {customers:,} customers, {behaviours:,} behaviours over {data.DAYS} days in {len(homes)} homes, "
        f"seed {data.SEED}; made in {time.perf_counter() - began:.0f} s."
    )
    loop = _loop(homes, as_of, customers)
    _each(homes, data.unclassify)
    first = _night(as_of)
    results.note(
        f"The first night of all also writes a lifecycle and a review date for everybody: {first.classify:.1f} s. "
        "The full night that the others are compared with comes after it, as in a system that is in use."
    )
    _each(homes, data.unclassify)
    night = _night(as_of)
    ours = night.classify
    _check(homes, customers)
    _each(homes, data.tidy)
    again = _night(as_of)
    idle = again.classify
    touched = _touched(as_of, customers).classify
    _each(homes, data.unclassify)
    by_hand = _by_hand(homes, as_of, run=-1)
    _each(homes, data.tidy)
    by_hand_idle = _by_hand(homes, as_of, run=-2)
    cache = timed(lambda: CACHE.drop(f"wmBENCH{n}" for n in range(customers)))
    results.add(
        "full night, every class changes", "the article's loop, extrapolated", f"{loop / ours:.0f} ×", "≥ 300 ×",
        holds=loop / ours >= 300, detail=f"{ours:.1f} s against {loop:.0f} s ({LOOP_CUSTOMERS} customers measured)",
    )  # fmt: skip
    results.add(
        "full night, every class changes", "one SQL statement per home", f"{ours / by_hand:.2f} ×", "≤ 1.5 ×",
        holds=ours / by_hand <= 1.5,
        detail=f"{ours:.1f} s (of which about {cache:.1f} s tell the cache) against {by_hand:.1f} s",
    )  # fmt: skip
    results.add(
        "full night, nothing changes", "the same SQL", f"{idle / by_hand_idle:.2f} ×", "≤ 0.5 ×",
        holds=idle / by_hand_idle <= 0.5, detail=f"{idle:.1f} s against {by_hand_idle:.1f} s",
    )  # fmt: skip
    results.add(
        "night with 1 % of the customers touched", "the full night", f"{touched / ours:.1%}", "≤ 5 %",
        holds=touched / ours <= 0.05, detail=f"{touched:.2f} s against {ours:.1f} s",
    )  # fmt: skip
    for which, one in (("the first night of all: a score for everybody", first), ("the night after it", night)):
        results.add(
            f"RFM and value, second phase of {which}", "the full night", f"{one.second / one.classify:.2f} ×", "≤ 2 ×",
            holds=one.second <= 2 * one.classify,
            detail=f"fit {one.fit:.1f} s, scores {one.score:.1f} s of {one.fitted_customers:,} buyers, "
            f"against {one.classify:.1f} s",
        )  # fmt: skip
    results.note(
        f"A repeat of the second phase, in which nothing changes: fit {again.fit:.1f} s, scores {again.score:.1f} s. "
        f"Third phase (recommendations for everybody, no segments): {first.act:.1f} s, {night.act:.1f} s and "
        f"{again.act:.1f} s in the three nights."
    )
    results.add(
        "memory of a worker in a full night", "-", f"{night.memory:.0f} MiB", "≤ 300 MiB", holds=night.memory <= 300,
        detail=f"largest resident set at {customers:,} customers, fit included",
    )  # fmt: skip


@dataclass(frozen=True)
class Night:
    """Seconds and MiB of a run. classify: its first phase. second: fit, scores. act: segments and recommendations."""

    classify: float
    fit: float
    score: float
    act: float
    memory: float
    fitted_customers: int

    @property
    def second(self) -> float:
        return self.fit + self.score


def _each(homes: tuple[int, ...], work) -> None:  # type: ignore[no-untyped-def]
    with ThreadPoolExecutor(len(homes)) as pool:
        list(pool.map(work, homes))


def _night(as_of: date) -> Night:
    """Run a full night in one worker process per home, started beforehand."""
    return _run(as_of, full=True)


def _run(as_of: date, *, full: bool) -> Night:
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for home in sharding.shard_map().homes
    ]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()  # it is up
    began = time.time()
    run = start_run(ProfileRun.Kind.MANUAL, as_of, full=full)
    reports = []
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write(f"{run.pk}\n".encode())
        worker.stdin.flush()
    for worker in workers:
        assert worker.stdout is not None
        reports.append(json.loads(worker.stdout.readline()))
    for worker in workers:
        worker.communicate()
    # Whose home was through first has left the figures and the end to the other, unless both went at once.
    run_all(run)
    run.refresh_from_db()
    if run.state != ProfileRun.State.DONE:
        raise RuntimeError(f"The run ended as {run.state}: {run.summary}")
    # One worker does all of a home, one claim after the other; the homes go side by side.
    of_homes = [found["phases"] for found in run.summary["homes"].values()]
    return Night(
        classify=max(report["classified"] for report in reports) - began,
        fit=run.summary["phases"]["fit"],
        score=max(found["score"] for found in of_homes),
        act=max(found["act"] for found in of_homes),
        memory=max(report["memory"] for report in reports),
        fitted_customers=(run.value_model or {}).get("customers", 0),
    )


def _touched(as_of: date, customers: int) -> Night:
    """Let every hundredth customer do something yesterday, then run an ordinary night."""
    yesterday = datetime.combine(as_of - timedelta(days=1), datetime.min.time(), timezone.get_default_timezone())
    homes = sharding.shard_map().homes
    people = [f"wmBENCH{home * 10**10 + n}" for home in homes for n in range(1, customers // len(homes) + 1, 100)]
    for start in range(0, len(people), 1_000):
        items = [
            {"event_id": f"touch-{e}-{as_of}", "external_userid": e, "kind": "purchase", "channel": "store",
             "amount": "10.00", "occurred_at": yesterday.isoformat()}
            for e in people[start : start + 1_000]
        ]  # fmt: skip
        recorded = record_behaviours(items, source="bench", now=timezone.now())
        if recorded.rejected:
            raise RuntimeError(str(recorded.rejected[0]))
    return _run(as_of, full=False)


def _by_hand(homes: tuple[int, ...], as_of: date, *, run: int) -> float:
    def write(home: int) -> None:
        try:
            with sharding.atomic_home(home), sharding.cursor(home) as cursor:
                cursor.execute(BY_HAND, {"as_of": as_of, "run": run})
        finally:
            connections[sharding.alias(home)].close()

    return timed(lambda: _each(homes, write))


def _loop(homes: tuple[int, ...], as_of: date, customers: int) -> float:
    """Classify 2 000 customers the article's way: read one, count twice, save one. Returns seconds for all."""
    alias = sharding.alias(homes[0])
    ids = [homes[0] * 10**10 + n for n in range(1, LOOP_CUSTOMERS + 1)]
    midnight = datetime.combine(as_of, datetime.min.time(), timezone.get_default_timezone())

    def classify() -> None:
        for customer_id in ids:
            customer = Customer.objects.using(alias).get(customer_id=customer_id)
            done = Behaviour.objects.using(alias).filter(customer_id=customer_id, occurred_at__lt=midnight)
            purchases, interactions = done.filter(kind="purchase").count(), done.filter(kind="interaction").count()
            customer.profile = "高价值客户" if purchases > 5 and interactions > 10 else "潜在客户"
            customer.purchase_count, customer.interaction_count = purchases, interactions
            customer.version += 1
            with sharding.atomic(customer_id):
                customer.save(update_fields=["profile", "purchase_count", "interaction_count", "version"])

    return timed(classify) / LOOP_CUSTOMERS * customers


def _check(homes: tuple[int, ...], customers: int) -> None:
    """See that the night did what it was timed for."""
    for home in homes:
        with sharding.cursor(home) as cursor:
            cursor.execute("SELECT count(*), count(DISTINCT customer_id) FROM profile_history")
            rows, people = cursor.fetchone()
            cursor.execute("SELECT count(*) FROM customers WHERE profile = %s", [data.BEFORE])
            (left,) = cursor.fetchone()
        if (rows, people, left) != (customers // len(homes), customers // len(homes), 0):
            raise RuntimeError(f"Home {home}: {rows} history rows of {people} customers, {left} not judged.")
