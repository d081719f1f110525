"""Ask several department databases at once, with bounded connections, and say which did not answer."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from typing import Generic, TypeVar

from django.conf import settings
from django.db import connections

from scrm.sharding.databases import alias, shard_map
from scrm.sharding.errors import HomeUnavailableError

T = TypeVar("T")


@dataclass
class FanOut(Generic[T]):
    """results: {home: what fn returned}; unavailable: the homes that could not be reached, ascending."""

    results: dict[int, T] = field(default_factory=dict)
    unavailable: list[int] = field(default_factory=list)


@cache
def _pool(_pid: int) -> ThreadPoolExecutor:
    # One pool a process: the bound holds for all requests of the process together. Threads do not survive a fork.
    return ThreadPoolExecutor(max_workers=settings.FANOUT_CONNECTIONS, thread_name_prefix="fan-out")


def fan_out(fn: Callable[[int], T], homes: Iterable[int] | None = None) -> FanOut[T]:
    """Call fn(home) for each home (all of them by default), several at once.

    A home that is down is listed in `unavailable`; any other exception is raised here.
    Connections: at most FANOUT_CONNECTIONS at a time for this process, closed when fn returns.
    A single home is asked in the calling thread, on its own connection.
    """
    wanted = list(shard_map().homes if homes is None else homes)
    answer: FanOut[T] = FanOut()

    def collect(home: int, ask: Callable[[], T]) -> None:
        try:
            answer.results[home] = ask()
        except HomeUnavailableError:
            answer.unavailable.append(home)

    if len(wanted) == 1:
        collect(wanted[0], lambda: fn(wanted[0]))
        return answer

    def call(home: int) -> T:
        try:
            return fn(home)
        finally:
            connections[alias(home)].close()
            connections["default"].close()

    futures = {home: _pool(os.getpid()).submit(call, home) for home in wanted}
    for home, future in futures.items():
        collect(home, future.result)
    return answer
