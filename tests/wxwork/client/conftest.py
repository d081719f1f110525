"""What tests of the client share: an empty Redis, and a process that remembers nothing of the test before."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.wxwork.client.recorder import Recorder, recording
from wxwork import grants
from wxwork.budget import shares
from wxwork.budget.alone import Alone
from wxwork.simulator import SimulatorServer

CHECKOUT = Path(__file__).resolve().parents[3]


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
def recorder(settings: Any) -> Iterator[Recorder]:
    """A host that keeps what it is sent, with the settings pointed at it."""
    with recording() as found:
        settings.WXWORK_BASE_URL = found.url
        settings.WXWORK_CORP_ID, settings.WXWORK_AGENT_ID = "wwrecorder", "1000025"
        settings.WXWORK_SECRET, settings.WXWORK_CONTACTS_SECRET = "sec-VERYSECRETSECRET-0001", ""
        yield found


@pytest.fixture
def start_process(simulator: SimulatorServer, settings: Any) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start another process of the product, with a piece of Python; what it prints last is JSON (see result_of)."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, **environ: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", "import django; django.setup()\n" + code],
            cwd=CHECKOUT,
            env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
            | {
                "DJANGO_SETTINGS_MODULE": "scrm.settings",
                "REDIS_URL": settings.REDIS_URL,
                "WXWORK_BASE_URL": settings.WXWORK_BASE_URL,
                "WXWORK_CORP_ID": settings.WXWORK_CORP_ID,
                "WXWORK_SECRET": settings.WXWORK_SECRET,
                "WXWORK_CONTACTS_SECRET": settings.WXWORK_CONTACTS_SECRET,
            }
            | environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def result_of(process: subprocess.Popen[str]) -> Any:
    """Wait for the end of a process, and return what it printed last."""
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    return json.loads(output.strip().splitlines()[-1])
