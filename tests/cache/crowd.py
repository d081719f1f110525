"""What the processes of the crowd tests do. Importable by a spawned process; needs no Django."""

import sys
import threading
import time
from collections.abc import Sequence
from ctypes import Array, c_long
from multiprocessing.synchronize import Barrier, Event

import redis

from scrm.cache import CacheClient, Loaded, ReadThrough
from tests.cache.things import Things

KEYS = [f"thing {number} 王" for number in range(4)]


def read_cold_key(url: str, threads: int, start: Barrier, sources: "Array[c_long]", load_seconds: float) -> None:
    """Read one key with many threads at once. sources: how often [hit, miss, negative, bypass], of this process."""
    client = CacheClient.from_url(url)
    counter = redis.Redis.from_url(url, max_connections=threads)

    def load(key: str) -> Loaded:
        counter.incr("loads")
        time.sleep(load_seconds)
        return Loaded(b'{"n": 1}', may_fill=True)

    rt = ReadThrough(lambda: client, prefix="thing:", ttl_seconds=60, load=load)
    ready, lock = threading.Barrier(threads + 1), threading.Lock()

    def read() -> None:
        ready.wait()
        value, source = rt.get("a")
        assert value == b'{"n": 1}'
        with lock:
            sources[["hit", "miss", "negative", "bypass"].index(source)] += 1

    readers = [threading.Thread(target=read) for _ in range(threads)]
    for reader in readers:
        reader.start()
    start.wait()  # all processes
    ready.wait()  # all threads of this one
    for reader in readers:
        reader.join()


def _things(redis_url: str, postgres_url: str) -> Things:
    client = CacheClient.from_url(redis_url, open_seconds=0.3)
    return Things(postgres_url, lambda: client)


def write_on(
    redis_url: str, postgres_url: str, stop: Event, answered: "Array[c_long]", counts: "Array[c_long]"
) -> None:
    """Write until told to stop. answered: of each key the newest version that was answered with the cache told.

    counts: writes, of these with the cache out of reach. Each writer has arrays of its own, so that it may be killed.
    """
    things = _things(redis_url, postgres_url)
    while not stop.is_set():
        for number, key in enumerate(KEYS):
            version, is_owing = things.write(key)
            counts[0] += 1
            if is_owing:
                counts[1] += 1
            else:
                answered[number] = version


def read_on(
    redis_url: str, postgres_url: str, stop: Event, answered: "Sequence[Array[c_long]]", counts: "Array[c_long]"
) -> None:
    """Read with three threads until told to stop. counts: reads, hits, reads that were older than an answered write."""
    things = _things(redis_url, postgres_url)

    def read() -> None:
        while not stop.is_set():
            for number, key in enumerate(KEYS):
                floor = max(versions[number] for versions in answered)
                value, source = things.cached.get(key)
                counts[0] += 1
                counts[1] += source == "hit"
                if int(value or 0) < floor:
                    counts[2] += 1
                    print(f"{key}: read {value!r} from {source}, answered was {floor}", file=sys.stderr)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    things.close()


def die_while_writing(redis_url: str, postgres_url: str, key: str, step: str) -> None:
    """Write a thing and be killed at a step: locked, told or committed."""
    import os
    import signal

    def die(reached: str) -> None:
        if reached == step:
            os.kill(os.getpid(), signal.SIGKILL)

    _things(redis_url, postgres_url).write(key, meanwhile=die)
