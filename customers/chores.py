"""What the keeper does for customers, with or without a broker.

chore                    every    does
settle_cache_deletions   2 s      deletes from the cache what writers could not
waiting_erasures         10 s     goes on with erasures that were never begun, were cut short, or wait for a place
unfinished_directory     60 s     ends creations and moves whose process died
map_identities           1 day    claims the identities that customers have, where their writers died before they could
sweep_directory          1 day    mends what crashes and restores have left between directory and homes
"""

from datetime import timedelta

from django.utils import timezone

from customers.erasure import run_waiting
from customers.lookup import CACHE
from customers.mapping import map_all
from customers.models import CacheDeletion
from customers.sweep import SETTLED_AFTER, Swept, settle_unfinished, sweep
from scrm import keeper, sharding
from scrm.cache import settle

CHUNK = 5_000
DAY_SECONDS = timedelta(days=1).total_seconds()


def settle_cache_deletions() -> int:
    """Delete the keys that writers have recorded because Redis did not answer. Returns how many.

    Database: one query per home; one more, and a transaction that deletes the rows, where there are any.
    """
    return sum(sharding.fan_out(_settle_home).results.values())


def _settle_home(home: int) -> int:
    settled = 0
    while True:
        rows = CacheDeletion.objects.using(sharding.alias(home)).order_by("id")
        owed = list(rows.values_list("id", "external_userid")[:CHUNK])
        done = settle(CACHE, owed) if owed else []
        if done:
            with sharding.atomic_home(home) as alias:
                CacheDeletion.objects.using(alias).filter(id__in=done).delete()
        settled += len(done)
        if len(done) < CHUNK:
            return settled


def end_unfinished() -> int:
    """End what creators and movers who died have left. Returns how many; cheap when there is nothing."""
    swept = Swept()
    settle_unfinished(swept, timezone.now() - SETTLED_AFTER)
    return swept.settled + swept.erasures_started


def sweep_all() -> int:
    """Sweep all homes. Returns how much was mended."""
    swept = sweep()
    return swept.settled + swept.erasures_started + swept.directory_removed + swept.rows_removed + swept.directory_added


def register() -> None:
    """Give the keeper these chores."""
    keeper.register("settle_cache_deletions", settle_cache_deletions, every_seconds=2)
    keeper.register("waiting_erasures", run_waiting, every_seconds=10)
    keeper.register("unfinished_directory", end_unfinished, every_seconds=60)
    keeper.register("map_identities", map_all, every_seconds=DAY_SECONDS)
    keeper.register("sweep_directory", sweep_all, every_seconds=DAY_SECONDS)
