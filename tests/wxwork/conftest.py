"""A WeCom for the tests: the simulator on a socket, in this process, with the settings pointed at it."""

from collections.abc import Iterator
from typing import Any

import pytest

from wxwork.simulator import SimulatorServer

CALLBACK_TOKEN = "simToken2026"
CALLBACK_AES_KEY = "kQ3vXz8NfT1mWb5RyU7hJc2LgP9sAdE4iOoKxV6uYBw"


@pytest.fixture
def simulator(settings: Any) -> Iterator[SimulatorServer]:
    """A corp of 30 customers and 20 staff. It records callbacks and sends none until pushes.settings.url is set."""
    with SimulatorServer(
        customers=30, seed=7, callback_token=CALLBACK_TOKEN, callback_aes_key=CALLBACK_AES_KEY
    ) as server:
        settings.WXWORK_BASE_URL = server.url
        settings.WXWORK_CORP_ID = "wwsimulator"
        settings.WXWORK_AGENT_ID = "1000025"
        settings.WXWORK_SECRET = settings.WXWORK_CONTACTS_SECRET = "simulator-secret"
        settings.WXWORK_CALLBACK_TOKEN = [CALLBACK_TOKEN]
        settings.WXWORK_CALLBACK_AES_KEY = [CALLBACK_AES_KEY]
        yield server
