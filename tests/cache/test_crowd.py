"""Real processes on a real Valkey and a real PostgreSQL: a cold key for a thousand, and writers that are killed."""

import multiprocessing
import random
import signal
import time
from collections.abc import Callable, Iterator
from ctypes import c_long
from multiprocessing.sharedctypes import RawArray
from typing import Any

import pytest

from scrm.cache import CacheClient, Read
from tests.cache.crowd import KEYS, die_while_writing, read_cold_key, read_on, write_on
from tests.cache.things import Things
from tests.servers import PrivatePostgres, PrivateValkey

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def server(valkey_server: Callable[..., PrivateValkey]) -> PrivateValkey:
    return valkey_server()


@pytest.fixture
def things(server: PrivateValkey, postgres_server: PrivatePostgres) -> Iterator[Things]:
    """A table on a real PostgreSQL, read through the private Valkey."""
    client = CacheClient.from_url(server.url, open_seconds=0.3)
    things = Things(postgres_server.url("scrm"), lambda: client)
    things.create()
    yield things
    things.drop_tables()
    things.close()


@pytest.mark.slow
def test_a_thousand_readers_in_four_processes_on_a_cold_key_load_once(server: PrivateValkey) -> None:
    start = SPAWN.Barrier(4)
    sources = [RawArray(c_long, 4) for _ in range(4)]
    processes = [SPAWN.Process(target=read_cold_key, args=[server.url, 250, start, counts, 0.05]) for counts in sources]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    assert CacheClient.from_url(server.url).redis.get("loads") == b"1"
    assert [sum(counts) for counts in zip(*sources, strict=True)] == [999, 1, 0, 0]  # hit, miss, negative, bypass


@pytest.mark.parametrize("is_flushed", [False, True], ids=["", "flushed"])
@pytest.mark.parametrize(("step", "stored"), [("locked", 1), ("told", 1), ("committed", 2)])
def test_a_writer_killed_at_a_step_leaves_nothing_to_clean(
    server: PrivateValkey, things: Things, step: str, stored: int, is_flushed: bool
) -> None:
    things.write("a")
    assert things.cached.get("a") == Read(b"1", "miss")
    writer = SPAWN.Process(target=die_while_writing, args=[server.url, things.url, "a", step])
    writer.start()
    writer.join(20)
    assert writer.exitcode == -signal.SIGKILL
    if is_flushed:
        things.cached.client.redis.flushall()
    deadline = time.monotonic() + 5
    while things.cached.get("a").source != "hit" and time.monotonic() < deadline:
        time.sleep(0.01)  # PostgreSQL takes a moment to notice that the writer is gone, and to give its lock back
    assert things.cached.get("a") == Read(b"%d" % stored, "hit")
    assert things.stored("a") == stored


def test_a_reader_meets_a_write_in_flight(things: Things) -> None:
    seen = []
    things.write("a")
    other = Things(things.url, lambda: things.cached.client)
    things.write("a", meanwhile=lambda step: seen.append((step, other.cached.get("a"))))
    assert seen == [("locked", Read(b"1", "miss")), ("told", Read(b"1", "miss")), ("committed", Read(b"2", "miss"))]
    assert things.cached.get("a") == Read(b"2", "hit")
    other.close()


def test_a_creation_is_seen_though_its_absence_was_cached_meanwhile(things: Things) -> None:
    seen = []
    other = Things(things.url, lambda: things.cached.client)
    things.write("a", meanwhile=lambda step: seen.append((step, other.cached.get("a"))))
    # An uncommitted insert shows no row, locked or not: the absence is kept, until the second deletion.
    assert seen == [("locked", Read(None, "miss")), ("told", Read(None, "miss")), ("committed", Read(None, "negative"))]
    assert things.cached.get("a") == Read(b"1", "miss")
    other.close()


def test_writes_while_redis_is_frozen_are_settled_when_it_is_back(server: PrivateValkey, things: Things) -> None:
    things.write("a")
    things.cached.get("a")
    server.pause()
    assert things.write("a") == (2, True)
    assert things.cached.get("a") == Read(b"2", "bypass")
    assert things.settle() == {}
    server.resume()
    time.sleep(0.35)
    assert things.settle() == {"a": 2}
    assert things.cached.get("a") == Read(b"2", "miss")
    assert things.settle() == {}


class Crowd:
    """Two writers and two readers, each a process, and a keeper in this one."""

    def __init__(self, redis_url: str, things: Things) -> None:
        self.urls = (redis_url, things.url)
        self.things = things
        self.stop = SPAWN.Event()
        # One more for what the keeper has settled.
        self.answered = [RawArray(c_long, len(KEYS)) for _ in range(3)]
        self.written = [RawArray(c_long, 2) for _ in range(2)]
        self.read = [RawArray(c_long, 3) for _ in range(2)]
        self.writers = [self.start_writer(number) for number in range(2)]
        self.readers = [self.start_reader(number) for number in range(2)]

    def _start(self, target: Callable[..., None], *args: Any) -> Any:
        process = SPAWN.Process(target=target, args=[*self.urls, self.stop, *args])
        process.start()
        return process

    def start_writer(self, number: int) -> Any:
        return self._start(write_on, self.answered[number], self.written[number])

    def start_reader(self, number: int) -> Any:
        return self._start(read_on, self.answered, self.read[number])

    def kill_a_writer(self) -> None:
        number = random.randrange(2)
        self.writers[number].kill()
        self.writers[number].join()
        self.writers[number] = self.start_writer(number)

    def kill_a_reader(self) -> None:
        number = random.randrange(2)
        self.readers[number].kill()
        self.readers[number].join()
        self.readers[number] = self.start_reader(number)

    def settle(self) -> None:
        for key, version in self.things.settle().items():
            number = KEYS.index(key)
            self.answered[2][number] = max(self.answered[2][number], version)

    def end(self) -> None:
        self.stop.set()
        for process in self.writers + self.readers:
            process.join(20)
            assert process.exitcode == 0


@pytest.mark.slow
def test_no_read_is_older_than_an_answered_write_whatever_happens(server: PrivateValkey, things: Things) -> None:
    random.seed(15)
    bare = things.cached.client.redis
    crowd = Crowd(server.url, things)

    def freeze() -> None:
        server.pause()
        time.sleep(0.6)
        server.resume()

    def go_away() -> None:
        server.kill()
        time.sleep(0.6)
        server.start()

    faults: list[Callable[[], Any]] = [bare.flushall, freeze, crowd.kill_a_writer, bare.flushall, go_away]
    faults += [crowd.kill_a_reader, crowd.kill_a_writer, server.restart, freeze, bare.flushall]
    while not all(counts[0] for counts in crowd.written + crowd.read):
        time.sleep(0.05)
    for fault in faults:
        fault()
        for _ in range(4):
            time.sleep(0.1)
            crowd.settle()
    crowd.end()
    deadline = time.monotonic() + 10
    while things.connection.execute("SELECT count(*) FROM owed").fetchone() != (0,):
        assert time.monotonic() < deadline
        crowd.settle()
        time.sleep(0.05)
    assert [counts[2] for counts in crowd.read] == [0, 0]
    writes, owing, reads, hits = (
        sum(counts[number] for counts in group) for group, number in
        ((crowd.written, 0), (crowd.written, 1), (crowd.read, 0), (crowd.read, 1))
    )  # fmt: skip
    assert owing > 0
    assert hits > 0
    assert writes > 200
    assert reads > writes
    time.sleep(0.35)
    for key in KEYS:
        stored = b"%d" % things.stored(key)
        assert bare.get(f"thing:{key}") in (None, stored)
        assert things.cached.get(key).value == stored
    print(f"{writes} writes, {owing} without the cache; {reads} reads, {hits} hits")
