"""Clocks: claims, leases, due times and the night depend on machines that agree what time it is."""

import time
from collections.abc import Callable, Iterator

import redis
from django.conf import settings
from django.db import DatabaseError, connections

from scrm.doctor.findings import Finding
from scrm.doctor.redis_servers import connect
from scrm.sharding import HomeUnavailableError

TOLERANCE_SECONDS = 2.0


def find_troubles() -> Iterator[Finding]:
    """Compare every server's clock with this machine's. Servers that are down are told elsewhere."""
    for name, ask in _clocks().items():
        try:
            ahead_seconds = measure(ask)
        except (DatabaseError, HomeUnavailableError, redis.RedisError):
            continue
        if abs(ahead_seconds) > TOLERANCE_SECONDS:
            direction = "ahead of" if ahead_seconds > 0 else "behind"
            yield Finding(
                f"The clock of {name} is {abs(ahead_seconds):.1f} s {direction} this machine's.",
                "Let NTP (chrony, systemd-timesyncd) run on both.",
            )


def measure(ask: Callable[[], float]) -> float:
    """Return by how many seconds a clock is ahead of ours; the way there and back is taken to be equally long."""
    began = time.time()
    there = ask()
    return there - (began + time.time()) / 2


def _clocks() -> dict[str, Callable[[], float]]:
    asks: dict[str, Callable[[], float]] = {alias: _of_database(alias) for alias in connections}
    return asks | {"the cache": _of_redis(settings.REDIS_URL), "the broker": _of_redis(settings.CELERY_BROKER_URL)}


def _of_database(alias: str) -> Callable[[], float]:
    def ask() -> float:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
            return float(cursor.fetchone()[0])

    connections[alias]
    return ask


def _of_redis(url: str) -> Callable[[], float]:
    client = connect(url)

    def ask() -> float:
        seconds, microseconds = client.time()
        return float(seconds) + microseconds / 1_000_000

    return ask
