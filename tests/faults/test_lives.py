"""Customers who are created, erased and moved again and again, while others read and write them."""

import pytest

from customers.models import CustomerAlias
from tests.customers.people import addresses_of, state_of
from tests.faults import crew
from tests.faults.history import History
from tests.faults.stage import Stage

pytestmark = pytest.mark.slow


def end(stage: Stage) -> History:
    """Stop everybody and check what they have seen."""
    history = stage.stop()
    print(f"\n{history.summary()}")
    assert history.find_faults() == []
    assert len(history.reads) > 100
    return history


def test_creation_against_the_memory_of_nobody(stage: Stage) -> None:
    """Everybody asks for somebody who is not there yet, and who is then created and answered."""
    keys = [f"wm{number}" for number in range(8)]
    stage.start_readers(keys)
    stage.wait_for_all()
    stage.wait_for(stage.start(crew.create, keys))
    stage.go_on(0.2)
    history = end(stage)
    assert len(history.answered) == len(keys)
    assert "negative" in {read.source for read in history.reads}
    stage.check_cached(*keys)


def test_erasure_against_readers_and_callbacks(stage: Stage) -> None:
    """Who is answered as erased is not found, whatever a callback that was under way writes."""
    keys = ["wm1", "wm2"]
    stage.start_readers(keys)
    for part in ("f0", "f1", "a0"):
        stage.start(crew.call_back_on, keys, part)
    stage.wait_for_all()
    stage.wait_for(stage.start(crew.live, keys, 5))
    stage.go_on(0.3)
    history = end(stage)
    for key in keys:
        assert addresses_of(key) == []
        assert state_of(key) is None
    stage.check_cached(*keys)
    assert {"changed", "unknown_customer"} <= set(history.noted)


def test_moves_against_readers_and_writers(stage: Stage) -> None:
    """Nobody is lost on the way, not for a moment, and no answered write."""
    keys = ["wm1", "wm2"]
    stage.make(*keys)
    stage.start_writers(keys)
    stage.start_readers(keys)
    stage.wait_for_all()
    stage.wait_for(stage.start(crew.move_to_and_fro, keys, 6))
    history = end(stage)
    assert all(read.version for read in history.reads)
    assert len(history.answered) > len(keys)
    for key in keys:
        (customer_id,) = addresses_of(key)
        assert CustomerAlias.objects.filter(customer_id=customer_id).count() == 6
    stage.check_cached()
