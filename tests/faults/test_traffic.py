"""Readers in four processes and writers in four, on a few customers, while servers and processes are ill-treated.

What each has seen is checked by history. `pytest -s` prints how much there was.
"""

import os
import random
import time
from collections.abc import Callable

import pytest

from tests.faults import crew
from tests.faults.history import History
from tests.faults.stage import Stage, until

FAULT_SECONDS = float(os.environ.get("FAULT_SECONDS", 3))
KEYS = ["wm1", "wm2 老王'🙂", "wm3"]
# From when Redis answers the keeper.
KEEPER_SECONDS = 10
pytestmark = pytest.mark.slow


@pytest.fixture
def traffic(stage: Stage) -> Stage:
    """Readers and writers at work on KEYS."""
    stage.make(*KEYS)
    stage.start_writers(KEYS)
    stage.start_readers(KEYS)
    stage.wait_for_all()
    return stage


def end(stage: Stage) -> History:
    """Stop everybody and check what they have seen and left."""
    history = stage.stop()
    print(f"\n{history.summary()}")
    assert history.find_faults() == []
    stage.check_cached()
    assert len(history.answered) > 20
    assert len(history.reads) > len(history.answered)
    return history


def test_writers_that_are_killed(traffic: Stage) -> None:
    """At any moment, some after they have been frozen with a row locked, also with the cache flushed in between."""
    random.seed(7)
    for number in range(14):
        traffic.go_on(random.uniform(0.05, 0.2))
        traffic.replace_a_writer(frozen_seconds=random.choice([0, 0.1]))
        if number % 2:
            traffic.redis.flushall()
    end(traffic)


def test_cache_that_is_restarted_empty(traffic: Stage) -> None:
    for _ in range(4):
        traffic.go_on(0.4)
        traffic.cache.restart()
        traffic.settle()
    traffic.go_on(0.5)
    end(traffic)


def test_cache_that_is_frozen(traffic: Stage) -> None:
    """Nobody is answered, connections stay, and what has been sent is done when it thaws."""
    traffic.go_on(0.3)
    traffic.cache.pause()
    traffic.go_on(FAULT_SECONDS)
    traffic.cache.resume()
    wait_for_the_keeper(traffic, traffic.settle)
    traffic.go_on(0.5)
    assert any(write.is_owed for write in end(traffic).answered)


def test_cache_that_is_gone_and_comes_back(traffic: Stage) -> None:
    """The keeper, a process of its own, deletes what writers could not."""
    keeper = traffic.start(crew.keep_on)
    traffic.wait_for_all()
    traffic.cache.kill()
    traffic.go_on(FAULT_SECONDS)
    assert traffic.owed()
    traffic.cache.start()
    wait_for_the_keeper(traffic)
    traffic.go_on(0.5)
    traffic.kill(keeper)
    assert any(write.is_owed for write in end(traffic).answered)


def wait_for_the_keeper(stage: Stage, settle: Callable[[], object] = lambda: None) -> None:
    """Wait until what is owed when Redis begins to answer has been deleted."""
    until(stage.redis.ping)
    began = time.monotonic()
    owed = stage.owed()
    until(lambda: settle() == 0 or not owed & stage.owed(), KEEPER_SECONDS)
    stage.note_settled(began)
    print(f"\n{len(owed)} owed, settled {time.monotonic() - began:.1f} s after Redis answered")


def test_nightly_runs(stage: Stage) -> None:
    """Runs write everybody in bulk, each into another class, while others read them and write some of them."""
    stage.make(*KEYS, "written by runs alone")
    stage.start_writers(KEYS, ["a0", "f0", "t0"])
    stage.start_readers(stage.keys)
    stage.wait_for_all()
    stage.wait_for(stage.start(crew.classify, stage.keys, 3))
    stage.go_on(0.2)
    end(stage)
