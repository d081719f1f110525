"""What tests of the client share: an empty Redis, and a process that remembers nothing of the test before."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.wxwork.client.forked import Process
from tests.wxwork.client.recorder import Recorder, recording
from wxwork import grants
from wxwork.budget import shares
from wxwork.budget.alone import Alone
from wxwork.client import calls
from wxwork.simulator import SimulatorServer


@pytest.fixture(autouse=True)
def _nothing_remembered(redis_client: Any) -> Iterator[None]:
    def forget() -> None:
        grants.forget_locals()
        shares._alone = Alone()
        shares._complained = False

    forget()
    yield
    forget()


@pytest.fixture
def short_pauses(monkeypatch: Any) -> None:
    """The pauses between tries, a tenth of what they are."""
    monkeypatch.setattr(calls, "PAUSES_SECONDS", (0.05, 0.1, 0.2))
    monkeypatch.setattr(calls, "JITTER_SECONDS", 0.01)


@pytest.fixture
def recorder(settings: Any) -> Iterator[Recorder]:
    """A host that keeps what it is sent, with the settings pointed at it."""
    with recording() as found:
        settings.WXWORK_BASE_URL = found.url
        settings.WXWORK_CORP_ID, settings.WXWORK_AGENT_ID = "wwrecorder", "1000025"
        settings.WXWORK_SECRET, settings.WXWORK_CONTACTS_SECRET = "sec-VERYSECRETSECRET-0001", ""
        yield found


@pytest.fixture
def start_process(simulator: SimulatorServer, settings: Any) -> Iterator[Callable[..., Process]]:
    """Start another process of the product, with a piece of Python; what it prints last is JSON (see result_of)."""
    started: list[Process] = []
    names = ("REDIS_URL", "WXWORK_BASE_URL", "WXWORK_CORP_ID", "WXWORK_SECRET", "WXWORK_CONTACTS_SECRET")

    def start(code: str, **given: Any) -> Process:
        started.append(Process(code, {name: getattr(settings, name) for name in names} | given))
        return started[-1]

    yield start
    for process in started:
        process.close()


def result_of(process: Process) -> Any:
    """Wait for the end of a process, and return what it printed last."""
    output = process.stdout.read()
    process.wait()
    assert process.returncode == 0, output
    return json.loads(output.strip().splitlines()[-1])
