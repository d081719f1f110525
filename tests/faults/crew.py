"""What the processes of these tests do. Each writes what it did to a log of its own, at once, so that it may be killed.

Writers of one customer each own a part of what a lookup shows, and put a growing number there:

    a<n>       attributes a<n>: number
    f<n>       the follow of staff f<n>, its remark the number
    t<n>       our own tag t<n>-<number>
    profile    the class, as "class <number>", by runs
"""

import json
import logging
import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connections
from django.utils import timezone

from customers.directory import upsert, upsert_many
from customers.erasure import request_erasure, run_erasure
from customers.lookup import CACHE
from customers.moves import move_customer
from customers.records import CustomerData, FollowData
from profiles import publishing, runs
from profiles.days import day_of
from scrm import keeper, sharding
from scrm.cache import CacheClient
from scrm.cache.counters import DROPPED_KEYS

PAUSE_SECONDS = 0.004


@dataclass(frozen=True)
class Places:
    """Where the servers are.

    databases: {alias: what differs from this process's settings}. cache_patience_seconds: how long an answer of Redis
    is waited for, if not the product's half a second.
    """

    redis_url: str
    databases: dict[str, dict[str, Any]]
    cache_patience_seconds: float | None = None

    def settle(self) -> None:
        """Make this process use them. Nothing has been connected before."""
        logging.disable(logging.WARNING)  # a line for each delete that is owed
        settings.REDIS_URL = self.redis_url
        for alias, entry in self.databases.items():
            connections.settings[alias].update(entry)
        if self.cache_patience_seconds:
            client = CacheClient.from_url(self.redis_url, timeout_seconds=self.cache_patience_seconds)
            CACHE.__dict__["client"] = client


class Log:
    """Lines of JSON, each written at once. Times are of time.monotonic(), one clock for all processes."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._folder = path.parent
        self._stop = path.parent / "stop"

    def note(self, kind: str, **what: Any) -> None:
        os.write(self._file, json.dumps([kind, what]).encode() + b"\n")

    def wait_for(self, signal: str) -> None:
        """Wait until the test gives a signal."""
        while not (self._folder / signal).exists():
            time.sleep(0.001)

    def until_told(self) -> Iterator[int]:
        """Count from 0 until the test says that it is enough."""
        number = 0
        while not self._stop.exists():
            yield number
            number += 1


# -------------------------------------------------------------------------------------------------- what they do once
def look(key: str) -> tuple[dict[str, Any] | None, str]:
    """Look somebody up. Returns what is shown, and where it came from."""
    value, source = CACHE.get(key)
    return (json.loads(value) if value else None), source


def put(key: str, part: str, number: int, home: int | None = None) -> str:
    """Write a part of a customer. Returns what became of it: created, updated or unchanged."""
    return upsert(item_of(key, part, number, home=home))[1]


def change(key: str, part: str, number: int) -> list[str]:
    """Write a part as WeCom's callbacks do, who create nobody. Returns the codes of what was refused."""
    item = item_of(key, part, number, by_wecom=True)
    return [error.code for error in upsert_many([item], create=False).rejected.values()]


def item_of(key: str, part: str, number: int, **options: Any) -> CustomerData:
    if part[0] == "f":
        follow = FollowData(part, remark=str(number))
        return CustomerData(key, follows=(follow,), follows_within=frozenset({part}), **options)
    if part[0] == "t":
        return CustomerData(key, tag_ids=(f"{part}-{number}",), **options)
    return CustomerData(key, {"attributes": {part: number}}, merge_attributes=True, **options)


def parts_of(shown: dict[str, Any] | None) -> dict[str, int]:
    """Return the numbers that writers have put into what is shown."""
    if shown is None:
        return {}
    parts = {follow["userid"]: int(follow["remark"]) for follow in shown["follows"]}
    for tag_id in shown["tag_ids"]:
        part, _, number = tag_id.partition("-")
        parts[part] = int(number)
    if shown["profile"]:
        parts["profile"] = int(shown["profile"].removeprefix("class "))
    return {**shown["attributes"], **parts}


def move(key: str, home: int) -> int:
    return move_customer(key, home, actor="mover")


def request(key: str) -> uuid.UUID:
    return request_erasure(key, actor="eraser").id


def erase(key: str) -> str:
    return run_erasure(request(key)).state


# ------------------------------------------------------------------------------------------- what they do until stopped
def read_on(log: Log, keys: Sequence[str], *, threads: int = 2, pause_seconds: float = 0.004) -> None:
    """Read all keys again and again."""

    def read() -> None:
        for _ in log.until_told():
            for key in keys:
                began = time.monotonic()
                try:
                    shown, source = look(key)
                except sharding.HomeUnavailableError:
                    log.note("failed", key=key, began=began, ended=time.monotonic())
                    continue
                ended = time.monotonic()
                version = shown["version"] if shown else 0
                parts = parts_of(shown)
                log.note("read", key=key, began=began, ended=ended, source=source, version=version, parts=parts)
                time.sleep(pause_seconds)
        connections.close_all()

    crowd = [threading.Thread(target=read) for _ in range(threads)]
    for reader in crowd:
        reader.start()
    for reader in crowd:
        reader.join()


def write_on(log: Log, keys: Sequence[str], part: str, *, first: int = 1) -> None:
    """Write a part of all keys again and again, with numbers from `first`."""
    for number in log.until_told():
        for key in keys:
            _logged(log, key, part, first + number, lambda key=key, n=first + number: _accepted(item_of(key, part, n)))
            time.sleep(random.uniform(0, PAUSE_SECONDS))


def _accepted(item: CustomerData) -> bool:
    done = upsert_many([item])
    return not done.rejected


def untold() -> float:
    """Return how many keys this process could not tell Redis to delete."""
    return DROPPED_KEYS.labels("wxwork_customer", "untold")._value.get()


def _logged(log: Log, key: str, part: str, number: int, write: Callable[[], bool]) -> None:
    """Write and log when it began and when it was answered; owed: Redis could not be told."""
    before = untold()
    log.note("began", key=key, part=part, number=number, at=time.monotonic())
    if write():
        is_owed = untold() > before
        log.note("answered", key=key, part=part, number=number, at=time.monotonic(), is_owed=is_owed)
    else:
        log.note("refused", key=key, part=part, number=number, at=time.monotonic())


def create(log: Log, keys: Sequence[str]) -> None:
    """Create customers, one after the other."""
    for key in keys:
        _logged(log, key, "made", 1, lambda key=key: _accepted(item_of(key, "made", 1)))
        time.sleep(random.uniform(0.02, 0.1))


def move_to_and_fro(log: Log, keys: Sequence[str], times: int) -> None:
    """Move customers to the other home and back."""
    for number in range(times):
        for key in keys:
            move(key, 101 - number % 2)
            log.note("moved")
        time.sleep(random.uniform(0, 0.05))


def live(log: Log, keys: Sequence[str], times: int) -> None:
    """Create and erase customers again and again. Life n begins as 2n and ends as 2n + 1."""
    for life in range(times):
        for key in keys:
            item = item_of(key, "life", 2 * life, home=100 + life % 2)
            _logged(log, key, "life", 2 * life, lambda item=item: _accepted(item))
        time.sleep(random.uniform(0, 0.05))
        for key in keys:
            _logged(log, key, "life", 2 * life + 1, lambda key=key: bool(request(key)))
        time.sleep(random.uniform(0, 0.02))
        for key in keys:
            assert erase(key) == "done"
        time.sleep(random.uniform(0, 0.02))


def call_back_on(log: Log, keys: Sequence[str], part: str) -> None:
    """Change customers as callbacks do, whether they are there or not."""
    for number in log.until_told():
        for key in keys:
            for fate in change(key, part, number) or ["changed"]:
                log.note(fate)
            time.sleep(random.uniform(0, PAUSE_SECONDS))


def classify(log: Log, keys: Sequence[str], times: int) -> None:
    """Run profile runs over everybody, each of which puts everybody into another class."""
    for number in range(1, times + 1):
        for key in keys:
            log.note("began", key=key, part="profile", number=number, at=time.monotonic())
        before = untold()
        publishing.publish(publishing.save_draft([], f"class {number}").version, by="crew")
        run = runs.run_all(runs.start_run("manual", day_of(timezone.now()), full=True, homes=[100]))
        assert run.state == "done", run.summary
        owed = untold() > before
        for key in keys:
            log.note("answered", key=key, part="profile", number=number, at=time.monotonic(), is_owed=owed)


def keep_on(log: Log) -> None:
    """Be the keeper, of everything that customers want kept, until killed."""
    log.note("keeps")
    keeper.run(threading.Event(), keeper.registered())


def crowd(log: Log, key: str, threads: int, signal: str) -> None:
    """Read one key with many threads, all at once when told to go."""
    go = threading.Barrier(threads + 1)
    looks: list[tuple[str, float]] = []

    def look_once() -> None:
        go.wait()
        began = time.monotonic()
        looks.append((look(key)[1], time.monotonic() - began))
        connections.close_all()

    readers = [threading.Thread(target=look_once) for _ in range(threads)]
    for reader in readers:
        reader.start()
    log.note("ready")
    log.wait_for(signal)
    go.wait()
    for reader in readers:
        reader.join()
    for source, seconds in looks:
        log.note("look", key=key, source=source, seconds=seconds)


# ------------------------------------------------------------------------------------------------- how they are started
def work(places: Places, path: Path, what: Callable[..., None], arguments: Sequence[Any], options: dict) -> None:
    """Be a process that does something until stopped."""
    places.settle()
    what(Log(path), *arguments, **options)


def obey(places: Places, orders: "Connection[Any, Any]") -> None:
    """Be a process that does what it is told, one thing after the other, and answers what came of each."""
    places.settle()
    with suppress(EOFError):
        while True:
            what, arguments = orders.recv()
            orders.send(what(*arguments))
