"""What is bought together, counted anew in each run: by each home over its own customers, merged on control.

    each home      its customers' latest MAX_PER_CUSTOMER items, the MAX_ITEMS most bought of them: buyers and pairs
    control        home_items: each home's counts as last seen; a home that is down keeps them, and is named
                   item_affinities: cooccurrence.merge of all homes; only what differs is written

One process does it between the phases of a run. Repeatable; killed anywhere, the next one does all of it.
"""

from collections.abc import Iterable
from typing import Any

import structlog
from django.db import transaction

from profiles.models import HomeItems, ItemAffinity, ProfileRun
from profiles.recommendations.cooccurrence import Affinity, HomeCounts, Pair, merge
from scrm import sharding

logger = structlog.get_logger(__name__)

# Of one home: more pairs than this say little, and would have to be kept on control.
MAX_ITEMS = 2000
MAX_PAIRS = 100_000
MAX_PER_CUSTOMER = 20
MAX_ID, MAX_NAME = 128, 200

# Each customer's latest items, for the pairs of one who buys everything would be those of everything.
LATEST = f"""
WITH popular AS (
    SELECT item_id, max(name) AS name FROM customer_items
    WHERE purchases > 0 AND length(item_id) <= {MAX_ID}
    GROUP BY item_id ORDER BY count(*) DESC, item_id LIMIT {MAX_ITEMS}
), numbered AS MATERIALIZED (
    SELECT item_id, name, row_number() OVER (ORDER BY item_id) AS number FROM popular
), latest AS MATERIALIZED (
    SELECT customer_id, number FROM (
        SELECT i.customer_id, n.number,
            row_number() OVER (PARTITION BY i.customer_id ORDER BY i.last_day DESC, i.item_id) AS place
        FROM customer_items i JOIN numbered n ON n.item_id = i.item_id
        WHERE i.purchases > 0
    ) AS placed WHERE place <= {MAX_PER_CUSTOMER}
)"""  # noqa: S608 - made of constants
# Items with their buyers, then pairs: in one statement, as what both are counted from is most of the work.
COUNTS = f"""{LATEST}, together AS (
    SELECT one.number AS first, two.number AS second, count(*) AS customers
    FROM latest one JOIN latest two ON two.customer_id = one.customer_id AND two.number > one.number
    GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT {MAX_PAIRS}
)
SELECT n.item_id, NULL, left(n.name, {MAX_NAME}), count(*) FROM latest l JOIN numbered n ON n.number = l.number
GROUP BY n.item_id, n.name
UNION ALL
SELECT a.item_id, b.item_id, NULL, t.customers FROM together t
JOIN numbered a ON a.number = t.first JOIN numbered b ON b.number = t.second
"""  # noqa: S608


def compute(run: ProfileRun) -> dict[str, Any]:
    """Count what goes together, and store it. Returns {items, pairs, written, unavailable} for the run's summary.

    Database: one query on each home; control, two queries and what differs, in one transaction.
    """
    answers = sharding.fan_out(count_home, [home for home in run.homes if home in sharding.shard_map()])
    for home, counts in answers.results.items():
        _keep(home, counts, run.pk)
    affinities = merge(_kept())
    written = _store(affinities, run.pk)
    unknown = [home for home in run.homes if home not in sharding.shard_map()]
    done = {
        "items": len({one.item_id for one in affinities}),
        "pairs": len(affinities),
        "written": written,
        "unavailable": sorted([*answers.unavailable, *unknown]),
    }
    logger.info("affinities_computed", run=run.pk, **done)
    return done


def count_home(home: int) -> HomeCounts:
    """Return what a home's customers bought together. Database: one query on the home's."""
    buyers: dict[str, int] = {}
    names: dict[str, str] = {}
    pairs: dict[Pair, int] = {}
    with sharding.cursor(home) as cursor:
        cursor.execute(COUNTS)
        for item, other, name, customers in cursor.fetchall():
            if other is not None:
                # A home may order texts in a way of its own.
                pairs[min(item, other), max(item, other)] = customers
                continue
            buyers[item] = customers
            if name:
                names[item] = name
    return HomeCounts(buyers, names, pairs)


def _keep(home: int, counts: HomeCounts, run_id: int) -> None:
    """Store a home's counts if they differ from what is stored."""
    found = {
        "buyers": dict(sorted(counts.buyers.items())),
        "names": dict(sorted(counts.names.items())),
        "pairs": [[*pair, customers] for pair, customers in sorted(counts.pairs.items())],
    }
    stored = HomeItems.objects.filter(home=home).values(*found).first()
    if stored != found:
        HomeItems.objects.update_or_create(home=home, defaults={**found, "run_id": run_id})


def _kept() -> Iterable[HomeCounts]:
    for row in HomeItems.objects.order_by("home").iterator(chunk_size=1):
        yield HomeCounts(row.buyers, row.names, {(one, two): customers for one, two, customers in row.pairs})


def _store(affinities: list[Affinity], run_id: int) -> int:
    """Make the table say just this. Returns how many rows were written; none when nothing differs."""
    wanted = {(one.item_id, one.other_id): one for one in affinities}
    with transaction.atomic():
        stored = {(row.item_id, row.other_id): row for row in ItemAffinity.objects.select_for_update()}
        gone = [row.pk for pair, row in stored.items() if pair not in wanted]
        changed = []
        for pair, row in stored.items():
            one = wanted.get(pair)
            if one is not None and _values(row) != _values(one):
                row.name, row.other_name, row.together, row.score = _values(one)
                row.run_id = run_id
                changed.append(row)
        new = [ItemAffinity(**vars(one), run_id=run_id) for pair, one in wanted.items() if pair not in stored]
        ItemAffinity.objects.filter(pk__in=gone).delete()
        ItemAffinity.objects.bulk_update(changed, ["name", "other_name", "together", "score", "run_id"], batch_size=500)
        ItemAffinity.objects.bulk_create(new, batch_size=1000)
    return len(gone) + len(changed) + len(new)


def _values(one: ItemAffinity | Affinity) -> tuple[str, str, int, float]:
    return one.name, one.other_name, one.together, one.score
