"""A synced corp for the tests of syncs."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from scrm.held import forget_all
from wxwork import tokens
from wxwork.models import SyncRun
from wxwork.simulator import SimulatorServer
from wxwork.sync import start_sync, work_on


@pytest.fixture(autouse=True)
def _ground(clean_databases: None, settings: Any) -> Iterator[None]:
    """Real transactions, and nothing held from before."""
    settings.WXWORK_CALLS_AT_ONCE = 64
    forget_all()
    yield
    forget_all()


def run_sync(kind: str = "full") -> SyncRun:
    """Run a sync to its end and return it."""
    run = work_on(start_sync(kind, "test"))
    forget_all()
    return run


@pytest.fixture
def synced(kept_state: Callable[..., Any], simulator: SimulatorServer) -> SimulatorServer:
    """The corp, after a full sync: each worker syncs it once, as it is the same in every test."""
    assert kept_state("synced corp", lambda: run_sync().state) == "done"
    forget_all()
    tokens.get(tokens.credential())  # which a sync leaves in the cache
    return simulator
