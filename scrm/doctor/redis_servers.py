"""Cache and broker: reachable, and each what it must be. A cache forgets, a broker keeps."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import redis
from django.conf import settings

from scrm.cache import persists
from scrm.doctor.findings import Finding

TIMEOUT_SECONDS = 2.0


def connect(url: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> redis.Redis:
    """Return a client that waits no longer than that and tries once."""
    return redis.Redis.from_url(url, retry=None, socket_timeout=timeout_seconds, socket_connect_timeout=timeout_seconds)


def place_of(url: str) -> str:
    """Return host:port of a URL; never its password."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 6379}"


def find_cache_troubles() -> Iterator[Finding]:
    """Look at REDIS_URL."""
    try:
        with connect(settings.REDIS_URL) as client:
            complaint = persists(client)
    except redis.RedisError as error:
        yield Finding(
            f"The cache at {place_of(settings.REDIS_URL)} does not answer ({error}): lookups are slow.",
            "Start it, or correct REDIS_URL.",
        )
        return
    if complaint:
        yield Finding(
            f"The cache is not fit to be one: {complaint}",
            "docs/read-through.md says why it must forget.",
            is_problem=not complaint.startswith("unknown"),
        )


def find_broker_troubles() -> Iterator[Finding]:
    """Look at CELERY_BROKER_URL."""
    url = settings.CELERY_BROKER_URL
    if not url.startswith(("redis://", "rediss://")):
        yield Finding(f"The broker is no Redis ({url.partition(':')[0]}): not looked at.", is_problem=False)
        return
    try:
        with connect(url) as client:
            info = client.info()
    except redis.RedisError as error:
        yield Finding(
            f"The broker at {place_of(url)} does not answer ({error}): nothing runs in the background.",
            "Start it, or correct CELERY_BROKER_URL.",
        )
        return
    if info.get("maxmemory_policy") != "noeviction":
        yield Finding(
            f"The broker throws tasks away when it is full (maxmemory-policy {info.get('maxmemory_policy')}).",
            "Set maxmemory-policy noeviction on it.",
        )
    if not info.get("aof_enabled"):
        yield Finding(
            "The broker keeps no log: tasks that wait are lost with it (the keeper finds them again later).",
            "Set appendonly yes on it.",
            is_problem=False,
        )
