"""Starts, stops and kills the processes of a test, and says in the end what they have seen."""

import json
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import redis
from django.db import connections

from customers.chores import settle_cache_deletions
from customers.lookup import CACHE, encode, read
from customers.models import CacheDeletion
from scrm import sharding
from scrm.cache import scripts
from tests.faults import crew
from tests.faults.crew import Log, Places
from tests.faults.history import History
from tests.faults.lines import Line
from tests.servers import PrivateValkey

PATIENCE_SECONDS = 60
PARTS = ("a0", "f0", "t0", "a1")
FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(["tests.faults.crew"])


def until(happens: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, "It does not come to pass."
        time.sleep(0.01)


class Actor:
    """A process of its own that does what it is told."""

    def __init__(self, places: Places) -> None:
        self._orders, theirs = FORKSERVER.Pipe()
        self._process = FORKSERVER.Process(target=crew.obey, args=[places, theirs])
        self._process.start()
        theirs.close()

    def begin(self, what: Callable[..., Any], *arguments: Any) -> "Actor":
        """Have it begin something of `crew`."""
        self._orders.send((what, arguments))
        return self

    @property
    def is_done(self) -> bool:
        """Whether it has answered, or died."""
        return self._orders.poll(0)

    def answer(self) -> Any:
        """Wait for what came of it."""
        assert self._orders.poll(PATIENCE_SECONDS), "It hangs."
        return self._orders.recv()

    def kill(self) -> None:
        """Kill it with SIGKILL. It must not have answered."""
        assert not self.is_done
        self._process.kill()
        self._process.join()

    def close(self) -> None:
        """Leave nothing of it."""
        self._process.kill()
        self._process.join()
        self._orders.close()


class Member(NamedTuple):
    """Somebody at work until the end."""

    process: BaseProcess
    what: Callable[..., None]
    arguments: Sequence[Any]
    options: dict[str, Any]


class Stage:
    """The processes of one test, on its databases and on a Valkey of its own."""

    def __init__(self, folder: Path, cache: PrivateValkey) -> None:
        self.cache = cache
        self.redis = redis.Redis.from_url(cache.url)
        # So that one message on a line is one step.
        for script in (scripts.FIND_OR_LEASE, scripts.FILL, scripts.RELEASE):
            self.redis.script_load(script.text)
        self.keys: list[str] = []
        self._folder = folder
        self._log = Log(folder / "stage.log")
        self._lines: list[Line] = []
        self._actors: list[Actor] = []
        self._hand: Actor | None = None
        self._logs: list[Path] = []
        self._crew: dict[int, Member] = {}
        self._writers: list[int] = []

    def places(self, *, cache_patience_seconds: float | None = None, **lines: Line) -> Places:
        """Return where the servers are, some of them at the end of a line."""
        names = ("HOST", "PORT", "NAME", "USER", "PASSWORD")
        options = {"OPTIONS": {"connect_timeout": PATIENCE_SECONDS}}
        databases = {
            alias: {name: connections.settings[alias][name] for name in names} | options for alias in connections
        }
        url = urlsplit(self.cache.url)
        for server, line in lines.items():
            if server == "redis":
                url = url._replace(netloc=url.netloc.replace(f":{self.cache.port}", f":{line.port}"))
            else:
                databases[server]["PORT"] = str(line.port)
        return Places(url.geturl(), databases, cache_patience_seconds)

    # ------------------------------------------------------------------------------------------------ one after another
    def line_to(self, server: str) -> Line:
        """Return a wire to the cache ("redis") or to a database (its alias), for processes that are given it."""
        port = self.cache.port if server == "redis" else int(connections.settings[server]["PORT"])
        self._lines.append(Line(port))
        return self._lines[-1]

    def begin(self, what: Callable[..., Any], *arguments: Any, **lines: Line) -> Actor:
        """Have a process of its own begin something."""
        self._actors.append(Actor(self.places(cache_patience_seconds=PATIENCE_SECONDS, **lines)))
        return self._actors[-1].begin(what, *arguments)

    def do(self, what: Callable[..., Any], *arguments: Any) -> Any:
        """Have another process do something, and return what came of it."""
        if self._hand is None:
            self._hand = self.begin(what, *arguments)
        else:
            self._hand.begin(what, *arguments)
        return self._hand.answer()

    def make(self, *keys: str, home: int = 100) -> None:
        """Create customers, with 1 in the part "made", before anybody reads."""
        for key in keys:
            began = time.monotonic()
            assert self.do(crew.put, key, "made", 1, home) == "created"
            write = {"key": key, "part": "made", "number": 1}
            self._log.note("began", **write, at=began)
            self._log.note("answered", **write, at=time.monotonic(), is_owed=False)
            self.keys.append(key)

    # ------------------------------------------------------------------------------------------------------ all at once
    def start(self, what: Callable[..., None], *arguments: Any, **options: Any) -> int:
        """Start somebody who goes on until the end. Returns a number for kill."""
        number = len(self._logs)
        self._logs.append(self._folder / f"{what.__name__}-{number}.log")
        task = [self.places(), self._logs[-1], what, arguments, options]
        process = FORKSERVER.Process(target=crew.work, args=task)
        process.start()
        self._crew[number] = Member(process, what, arguments, options)
        return number

    def start_readers(self, keys: Sequence[str], *, processes: int = 4) -> None:
        """Start readers, with two threads each."""
        for _ in range(processes):
            self.start(crew.read_on, keys)

    def start_writers(self, keys: Sequence[str], parts: Sequence[str] = PARTS) -> None:
        """Start a writer of each part."""
        self._writers += [self.start(crew.write_on, keys, part) for part in parts]

    def wait_for_all(self) -> None:
        """Wait until everybody is at work."""
        until(lambda: all(log.exists() and log.stat().st_size for log in self._logs))

    def go_on(self, seconds: float) -> None:
        """Let them work for a while. Nobody may die of it."""
        time.sleep(seconds)
        assert not [member for member in self._crew.values() if member.process.exitcode is not None]

    def wait_for(self, number: int) -> None:
        """Wait until somebody who has so much to do and no more has done it."""
        process = self._crew[number].process
        until(lambda: process.exitcode is not None)
        assert process.exitcode == 0
        del self._crew[number]

    def kill(self, number: int, *, frozen_seconds: float = 0) -> None:
        """Kill somebody with SIGKILL wherever they are, after they have been frozen for a while."""
        process = self._crew.pop(number).process
        assert process.pid is not None
        assert process.exitcode is None
        if frozen_seconds:
            os.kill(process.pid, signal.SIGSTOP)
            time.sleep(frozen_seconds)
        process.kill()
        process.join()

    def replace_a_writer(self, *, frozen_seconds: float = 0) -> None:
        """Kill one of the writers, and start another who goes on far above what the dead one may have written."""
        number = self._writers.pop(random.randrange(len(self._writers)))
        member = self._crew[number]
        self.kill(number, frozen_seconds=frozen_seconds)
        first = member.options.get("first", 1) + 1_000_000
        self._writers.append(self.start(member.what, *member.arguments, **{**member.options, "first": first}))

    def settle(self) -> int:
        """Delete what is owed to the cache, as the keeper's chore does. Returns how many keys are left."""
        began = time.monotonic()
        settle_cache_deletions()
        left = len(self.owed())
        if not left:
            self.note_settled(began)
        return left

    def note_settled(self, began: float) -> None:
        """Note that whatever was owed at a moment has been deleted by now."""
        self._log.note("settled", began=began, ended=time.monotonic())

    def owed(self) -> set[tuple[int, int]]:
        """Return what is recorded for the keeper in all homes: (home, id of the row)."""
        return {
            (home, row)
            for home in sharding.shard_map().homes
            for row in CacheDeletion.objects.using(sharding.alias(home)).values_list("id", flat=True)
        }

    def seen(self) -> History:
        """Return what has been seen up to now."""
        return History.of(self._folder.glob("*.log"))

    def signal(self, name: str) -> None:
        """Give a signal to those who wait for it."""
        (self._folder / name).touch()

    def reconnect(self) -> None:
        """Let go of connections to servers that have been restarted."""
        connections.close_all()
        self._hand = None

    def stop(self) -> History:
        """Stop all, settle what is owed, and return what was seen."""
        self.signal("stop")
        for member in self._crew.values():
            member.process.join(PATIENCE_SECONDS)
            assert member.process.exitcode == 0
        until(lambda: self.settle() == 0)
        return self.seen()

    def close(self) -> None:
        """Leave nothing behind."""
        for actor in self._actors:
            actor.close()
        for member in self._crew.values():
            member.process.kill()
            member.process.join()
        for line in self._lines:
            line.close()
        self.redis.close()

    def cached(self, key: str) -> list[bytes]:
        """Return what Redis holds of somebody: the value, the lease."""
        return [found for found in self.redis.mget(CACHE.value_key(key), CACHE.guard_key(key)) if found is not None]

    def check_cached(self, *keys: str) -> None:
        """Compare what Redis holds with what the databases say; and what the next reader is shown."""
        for key in keys or self.keys:
            customer, _ = read(key)
            stored = json.loads(encode(customer)) if customer else None
            value = self.redis.get(CACHE.value_key(key))
            assert value is None or json.loads(value) == stored, key
            assert self.redis.pttl(CACHE.guard_key(key)) != -1
            assert self.do(crew.look, key)[0] == stored
