"""Where a new customer goes, and where a known one is. Pure.

A strategy answers two questions, under the names that django-sharding gave them: `pick_shard` for somebody new, and
`get_shard` for somebody who has an id. The hash is BLAKE2, not Python's salted `hash()`: every process agrees.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Protocol

from scrm.sharding import ids


class BucketingStrategy(Protocol):
    """Chooses homes. A company's own strategy is named by the setting SHARDING_STRATEGY (dotted path)."""

    def pick_shard(self, external_userid: str, homes: Sequence[int]) -> int:
        """Return one of homes (open ones, ascending, never empty) for a new customer."""
        ...

    def get_shard(self, customer_id: int) -> int:
        """Return the home of a known customer."""
        ...


class StableHashStrategy:
    """Rendezvous hashing: when a home is opened, only new customers go there, spread evenly.

    >>> strategy = StableHashStrategy()
    >>> strategy.pick_shard("wmEAAAA", [100, 101]) == strategy.pick_shard("wmEAAAA", [100, 101])
    True
    >>> strategy.get_shard(1000000000042)
    100
    """

    def pick_shard(self, external_userid: str, homes: Sequence[int]) -> int:
        if not homes:
            raise ValueError("No home is open for new customers: open one with `manage.py shards open N`.")
        person = external_userid.encode()
        return max(homes, key=lambda home: blake2b(person, digest_size=8, salt=home.to_bytes(4, "big")).digest())

    def get_shard(self, customer_id: int) -> int:
        return ids.home_of(customer_id)
