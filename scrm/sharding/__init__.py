"""Customers in department databases: ids, the map, the router, transactions, fan-out and paging.

Names that need Django's models (Home, open_homes) are in scrm.sharding.models.
"""

from scrm.sharding.databases import (
    after_commit,
    after_commit_home,
    alias,
    allocate,
    atomic,
    atomic_home,
    bucketing,
    cursor,
    shard_map,
)
from scrm.sharding.errors import (
    HomeError,
    HomeUnavailableError,
    InvalidCustomerIdError,
    ShardingError,
    UnknownHomeError,
    UnroutableError,
    WriteOutsideAtomicError,
)
from scrm.sharding.fanout import FanOut, fan_out
from scrm.sharding.ids import bucket_of, home_of
from scrm.sharding.model_config import model_config, partitioned_models, sharded_models
from scrm.sharding.paging import Page, Position, page_across

__all__ = [
    "FanOut",
    "HomeError",
    "HomeUnavailableError",
    "InvalidCustomerIdError",
    "Page",
    "Position",
    "ShardingError",
    "UnknownHomeError",
    "UnroutableError",
    "WriteOutsideAtomicError",
    "after_commit",
    "after_commit_home",
    "alias",
    "allocate",
    "atomic",
    "atomic_home",
    "bucket_of",
    "bucketing",
    "cursor",
    "fan_out",
    "home_of",
    "model_config",
    "page_across",
    "partitioned_models",
    "shard_map",
    "sharded_models",
]
