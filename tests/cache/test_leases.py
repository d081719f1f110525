"""Who may fill, who waits, and whose fill comes too late."""

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from django.conf import settings
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from scrm.cache import CacheClient, Loaded, Read, ReadThrough
from tests.cache.conftest import Source, reader
from tests.examples import examples


class Gate:
    """Holds a load between reading and answering until it is opened."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        assert self.opened.wait(10)


def test_a_fill_after_a_drop_does_not_happen(rt: ReadThrough, source: Source, redis_client: redis.Redis) -> None:
    def write() -> None:
        rt.drop(["a"])
        source.values["a"] = b"2"

    source.values["a"], source.meanwhile = b"1", write
    assert rt.get("a") == Read(b"1", "miss")  # it began before the write was answered
    assert redis_client.keys() == []
    source.meanwhile = lambda: None
    assert [rt.get("a"), rt.get("a")] == [Read(b"2", "miss"), Read(b"2", "hit")]


@pytest.mark.parametrize("loss", ["flush", "evict guard", "expire guard"])
def test_a_fill_without_its_lease_does_not_happen(
    rt: ReadThrough, source: Source, redis_client: redis.Redis, loss: str
) -> None:
    def lose() -> None:
        if loss == "flush":
            redis_client.flushdb()
        elif loss == "evict guard":
            redis_client.delete("guard:thing:a")
        else:
            redis_client.pexpire("guard:thing:a", 1)
            time.sleep(0.005)

    source.values["a"], source.meanwhile = b"1", lose
    assert rt.get("a") == Read(b"1", "miss")
    assert redis_client.keys() == []


def test_a_late_reader_neither_fills_nor_takes_anothers_lease(
    client: CacheClient, source: Source, redis_client: redis.Redis
) -> None:
    """Its lease ran out, a second reader took the next one; the first comes back while the second still loads."""
    gates = [Gate(), Gate()]
    slow, quick = reader(client, source), reader(client, source)
    with ThreadPoolExecutor(2) as pool:
        source.values["a"], source.meanwhile = b"1", gates[0]
        first = pool.submit(slow.get, "a")
        assert gates[0].reached.wait(5)
        redis_client.delete("guard:thing:a")
        source.values["a"], source.meanwhile = b"2", gates[1]
        second = pool.submit(quick.get, "a")
        assert gates[1].reached.wait(5)
        lease = redis_client.get("guard:thing:a")
        gates[0].opened.set()
        assert first.result(5) == Read(b"1", "miss")
        assert (redis_client.get("thing:a"), redis_client.get("guard:thing:a")) == (None, lease)
        gates[1].opened.set()
        assert second.result(5) == Read(b"2", "miss")
    assert redis_client.get("thing:a") == b"2"


@pytest.mark.parametrize("ends", ["in flight", "fails"])
def test_release_leaves_anothers_lease_alone(
    rt: ReadThrough, source: Source, redis_client: redis.Redis, ends: str
) -> None:
    def lose_lease() -> None:
        redis_client.set("guard:thing:a", "another", px=3000)
        if ends == "fails":
            raise OSError

    source.in_flight, source.meanwhile = {"a"}, lose_lease
    try:
        rt.get("a")
    except OSError:
        assert ends == "fails"
    assert redis_client.get("guard:thing:a") == b"another"


@pytest.mark.parametrize("in_one_process", [True, False])
def test_who_has_no_lease_waits_for_the_value(client: CacheClient, source: Source, in_one_process: bool) -> None:
    first = reader(client, source)
    others = [first if in_one_process else reader(client, source) for _ in range(7)]
    source.values["a"], source.meanwhile = b"1", (gate := Gate())
    with ThreadPoolExecutor(8) as pool:
        reads = [pool.submit(first.get, "a")]
        assert gate.reached.wait(5)
        reads += [pool.submit(other.get, "a") for other in others]
        time.sleep(0.1)
        gate.opened.set()
        assert [read.result(5) for read in reads] == [Read(b"1", "miss")] + [Read(b"1", "hit")] * 7
    assert source.asked == ["a"]


def test_who_waited_long_enough_reads_without_filling(
    client: CacheClient, source: Source, redis_client: redis.Redis
) -> None:
    impatient = reader(client, source, wait_seconds=0.05)
    redis_client.set("guard:thing:a", "another", px=3000)
    source.values["a"] = b"1"
    assert impatient.get("a") == Read(b"1", "bypass")
    assert redis_client.get("thing:a") is None
    assert redis_client.get("guard:thing:a") == b"another"


def test_who_waited_in_vain_for_its_turn_looks_once_more_before_it_loads(client: CacheClient, source: Source) -> None:
    rt, other = reader(client, source, wait_seconds=0.2), reader(client, source)
    source.values["a"] = b"1"
    with ThreadPoolExecutor(1) as pool, rt._turns.take(b"thing:a", deadline=time.monotonic() + 1):
        waiting = pool.submit(rt.get, "a")
        time.sleep(0.05)
        assert other.get("a") == Read(b"1", "miss")
        assert waiting.result(5) == Read(b"1", "hit")
    assert source.asked == ["a"]


def test_one_thread_of_a_process_asks_for_the_lease_on_behalf_of_all(
    counted_client: CacheClient, source: Source
) -> None:
    rt, redis_client = reader(counted_client, source), counted_client.redis
    rt.get("b")  # the server knows the scripts
    redis_client.config_resetstat()
    source.values["a"], source.meanwhile = b"1", (gate := Gate())
    with ThreadPoolExecutor(30) as pool:
        reads = [pool.submit(rt.get, "a") for _ in range(30)]
        assert gate.reached.wait(5)
        time.sleep(0.1)
        gate.opened.set()
        assert sorted(read.result(5).source for read in reads) == ["hit"] * 29 + ["miss"]
    assert redis_client.info("commandstats")["cmdstat_evalsha"]["calls"] == 2  # lease and fill
    assert redis_client.info("commandstats")["cmdstat_set"]["calls"] == 2


def test_waiting_in_one_process_shares_the_waiting_not_the_value(rt: ReadThrough, source: Source) -> None:
    """A read that begins after an answered write must not get what a read before it loaded."""
    source.values["a"], source.meanwhile = b"1", (gate := Gate())
    with ThreadPoolExecutor(2) as pool:
        before = pool.submit(rt.get, "a")
        assert gate.reached.wait(5)
        rt.drop(["a"])
        source.values["a"], source.meanwhile = b"2", lambda: None
        after = pool.submit(rt.get, "a")
        time.sleep(0.05)
        gate.opened.set()
        assert before.result(5) == Read(b"1", "miss")
        assert after.result(5) == Read(b"2", "miss")
    assert rt.get("a") == Read(b"2", "hit")


def test_a_thread_that_asks_again_inside_its_load_is_not_stuck(client: CacheClient, source: Source) -> None:
    rt = reader(client, source, wait_seconds=0.02)
    nested = []

    def ask_again() -> None:
        source.meanwhile = lambda: None
        nested.append(rt.get("a"))

    source.values["a"], source.meanwhile = b"1", ask_again
    assert rt.get("a") == Read(b"1", "miss")
    assert nested == [Read(b"1", "bypass")]


def test_nothing_is_left_of_keys_that_nobody_waits_for(rt: ReadThrough) -> None:
    for number in range(50):
        rt.get(f"k{number}")
    assert rt._turns._turns == {}


def die_with_the_lease(url: str) -> None:
    def load(key: str) -> Loaded:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    ReadThrough(lambda: CacheClient.from_url(url), prefix="thing:", ttl_seconds=60, load=load).get("a")


def test_the_lease_of_a_killed_process_is_taken_over(
    client: CacheClient, source: Source, redis_client: redis.Redis
) -> None:
    process = multiprocessing.get_context("spawn").Process(target=die_with_the_lease, args=[settings.REDIS_URL])
    process.start()
    process.join(20)
    assert process.exitcode == -signal.SIGKILL
    assert 0 < redis_client.pttl("guard:thing:a") <= 3000
    source.values["a"] = b"1"
    patient = [reader(client, source, wait_seconds=8) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        reads = list(pool.map(lambda rt: rt.get("a"), patient))
    assert sorted(reads) == [Read(b"1", "hit")] * 3 + [Read(b"1", "miss")]
    assert source.asked == ["a"]


# ------------------------------------------------------------------------------------------------------- interleavings
# What may happen between a reader's load and its fill; a "read" by another process brings a list of its own.
STEPS = st.deferred(
    lambda: st.lists(
        st.sampled_from(["flush", "lose guard", "lose value", "lock", "commit", "roll back"]) | READS, max_size=4
    )
)
READS = st.tuples(st.just("read"), STEPS)


class History:
    """One key, any number of processes one inside the other, and a check of every read."""

    def __init__(self, client: CacheClient) -> None:
        self.client = client
        self.version = self.floor = 1
        self.is_locked = False

    def read(self, steps: list) -> None:
        def load(key: str) -> Loaded:
            loaded = Loaded(b"%d" % self.version, may_fill=not self.is_locked)
            self.run(steps)
            return loaded

        floor = self.floor
        rt = ReadThrough(lambda: self.client, prefix="thing:", ttl_seconds=60, load=load, wait_seconds=0)
        assert int(rt.get("a").value) >= floor

    def run(self, steps: list) -> None:
        for step in steps:
            if isinstance(step, tuple):
                self.read(step[1])
            elif step == "flush":
                self.client.redis.flushdb()
            elif step.startswith("lose"):
                self.client.redis.delete("guard:thing:a" if step == "lose guard" else "thing:a")
            elif step == "lock" and not self.is_locked:
                self.is_locked = True
                ReadThrough(lambda: self.client, prefix="thing:", ttl_seconds=60, load=lambda _: None).drop(["a"])
            elif step in ("commit", "roll back") and self.is_locked:
                self.is_locked = False
                self.version += step == "commit"
                self.floor = self.version


@given(steps=st.lists(READS | st.sampled_from(["lock", "commit"]), min_size=1, max_size=5))
@hypothesis_settings(
    max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_order_of_readers_writers_and_losses_shows_an_old_value(client: CacheClient, steps: list) -> None:
    client.redis.flushdb()
    history = History(client)
    history.run(steps)
    assert client.redis.get("thing:a") in (None, b"%d" % history.version)
    history.read([])
