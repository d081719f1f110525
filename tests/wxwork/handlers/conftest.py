"""Handlers on real databases, against a corp that was synced once."""

from collections.abc import Iterator
from typing import Any

import pytest

from scrm.held import forget_all
from tests.wxwork.sync.conftest import run_sync
from wxwork.simulator import SimulatorServer


@pytest.fixture(autouse=True)
def _ground(clean_databases: None, settings: Any) -> Iterator[None]:
    forget_all()
    yield
    forget_all()


@pytest.fixture
def synced(simulator: SimulatorServer) -> SimulatorServer:
    assert run_sync().state == "done"
    return simulator
