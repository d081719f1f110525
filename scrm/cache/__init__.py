"""A read-through cache over Redis or Valkey that is never older than an answered write. Knows nothing of customers.

    rt = ReadThrough(redis_client, prefix="thing:", ttl_seconds=86_400, negative_ttl_seconds=10, load=load)
    rt.get("a")       Read(value=b'{"n": 1}', source="miss")      one load, then "hit" without any
    rt.drop(["a"])    in the transaction that changes "a", before it commits

docs/read-through.md has the protocol, what it promises, and what breaks it.
"""

from scrm.cache.client import CacheClient, redis_client
from scrm.cache.errors import CacheRefusedError, CacheUnreachableError
from scrm.cache.persistence import persists
from scrm.cache.read_through import Loaded, Read, ReadThrough
from scrm.cache.settling import settle

__all__ = [
    "CacheClient",
    "CacheRefusedError",
    "CacheUnreachableError",
    "Loaded",
    "Read",
    "ReadThrough",
    "persists",
    "redis_client",
    "settle",
]
