"""Ask several department databases at once, with bounded connections, and say which did not answer."""

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import cache
from typing import Generic, TypeVar

from django.conf import settings
from django.db import connections

from scrm.sharding.databases import shard_map
from scrm.sharding.errors import HomeUnavailableError

T = TypeVar("T")

_thread = threading.local()


@dataclass
class FanOut(Generic[T]):
    """results: {home: what fn returned}; unavailable: the homes that could not be reached, ascending."""

    results: dict[int, T] = field(default_factory=dict)
    unavailable: list[int] = field(default_factory=list)


def fan_out(fn: Callable[[int], T], homes: Iterable[int] | None = None) -> FanOut[T]:
    """Call fn(home) for each home (all of them by default), several at once.

    A home that is down is listed in `unavailable`; any other exception is raised here, after all calls have ended.
    Connections: at most FANOUT_CONNECTIONS calls at a time for this process, and each closes what it has opened.
    A single home is asked in the calling thread, on its own connection; so are all when fn itself fans out.
    Transactions: none of the caller's reach into fn; sharding.atomic_home inside fn is its own.
    """
    wanted = sorted(set(shard_map().homes if homes is None else homes))
    answer: FanOut[T] = FanOut()
    if len(wanted) == 1 or getattr(_thread, "is_fanning_out", False):
        for home in wanted:
            _collect(answer, home, lambda home=home: fn(home))  # type: ignore[misc]
        return answer
    futures: dict[int, Future[T]] = {}
    for home in wanted:
        # With the request's id, for the logs.
        futures[home] = _pool(os.getpid()).submit(copy_context().run, _call, fn, home)
    wait(futures.values())
    for home, future in futures.items():
        _collect(answer, home, future.result)
    return answer


@cache
def _pool(_pid: int) -> ThreadPoolExecutor:
    # One pool a process: the bound holds for all requests of the process together. Threads do not survive a fork.
    return ThreadPoolExecutor(max_workers=settings.FANOUT_CONNECTIONS, thread_name_prefix="fan-out")


def _call(fn: Callable[[int], T], home: int) -> T:
    # A fan-out inside of a fan-out would wait for a thread of the pool that it occupies itself.
    _thread.is_fanning_out = True
    try:
        return fn(home)
    finally:
        _thread.is_fanning_out = False
        for connection in connections.all(initialized_only=True):
            connection.close()


def _collect(answer: FanOut[T], home: int, ask: Callable[[], T]) -> None:
    try:
        answer.results[home] = ask()
    except HomeUnavailableError:
        answer.unavailable.append(home)
