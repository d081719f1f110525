from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from django.conf import settings

from scrm.cache import CacheClient, Loaded, ReadThrough
from tests.servers import PrivateValkey

PREFIX = "thing:"


class Source:
    """Stands for the database: a value for each key, and a record of what was asked for."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.in_flight: set[str] = set()
        self.asked: list[str] = []
        self.meanwhile: Callable[[], Any] = lambda: None  # happens between reading and answering

    def load(self, key: str) -> Loaded:
        self.asked.append(key)
        loaded = Loaded(self.values.get(key), may_fill=key not in self.in_flight)
        self.meanwhile()
        return loaded


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def client(redis_client: redis.Redis) -> Iterator[CacheClient]:
    """A client of the cache's own kind on this worker's empty database."""
    client = CacheClient.from_url(settings.REDIS_URL)
    yield client
    client.redis.close()


@pytest.fixture
def counted_client(valkey_server: Callable[..., PrivateValkey]) -> Iterator[CacheClient]:
    """A client on a server of its own, whose count of commands has nobody else's in it."""
    client = CacheClient.from_url(valkey_server().url)
    yield client
    client.redis.close()


def reader(client: CacheClient, source: Source, **options: Any) -> ReadThrough:
    """A ReadThrough of its own: to the others it is another process."""
    return ReadThrough(lambda: client, **{"prefix": PREFIX, "ttl_seconds": 86_400, "load": source.load} | options)


@pytest.fixture
def rt(client: CacheClient, source: Source) -> ReadThrough:
    return reader(client, source)
