"""What the tests of the inbox share: an empty inbox, a journal of deeds, worker processes, and pushes like WeCom's."""

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client

from scrm.held import forget_all
from tests.conftest import CHECKOUT
from wxwork.crypto import Pair, encrypt, sign

TOKEN, AES_KEY, CORP = "scrmSimToken2026", "kQ3vXz8NfT1mWb5RyU7hJc2LgP9sAdE4iOoKxV6uYBw", "ww7f3a9c21d04be586"
PAIR = Pair.of(TOKEN, AES_KEY)
Start = Callable[[], "subprocess.Popen[str]"]


@pytest.fixture(autouse=True)
def _ground(
    clean_databases: None, broker_client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> Iterator[None]:
    """Real transactions, an empty broker, a new journal, nothing held from before."""
    monkeypatch.setenv("DEEDS_JOURNAL", str(tmp_path / "journal"))
    settings.WXWORK_CORP_ID = CORP
    settings.WXWORK_CALLBACK_TOKEN = [TOKEN]
    settings.WXWORK_CALLBACK_AES_KEY = [AES_KEY]
    forget_all()
    yield
    forget_all()


@pytest.fixture
def start_worker(request: pytest.FixtureRequest) -> Iterator[Start]:
    """Start worker processes on this test's databases; those that still run at its end are killed."""
    started: list[subprocess.Popen[str]] = []

    def start() -> "subprocess.Popen[str]":
        environ = request.getfixturevalue("process_environ")
        worker = subprocess.Popen(
            [sys.executable, "-m", "tests.wxwork.inbox.worker"],
            cwd=CHECKOUT,
            env=environ | {"DEEDS_JOURNAL": os.environ["DEEDS_JOURNAL"]},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.send_signal(signal.SIGCONT)
        worker.kill()
        worker.wait()


def ready(*workers: "subprocess.Popen[str]") -> None:
    """Wait until workers work."""
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"


def query(encrypted: str, *, timestamp: str = "1790035200", pair: Pair = PAIR, **more: str) -> str:
    nonce = secrets.token_hex(5)
    signature = sign(pair.token, timestamp, nonce, encrypted)
    return urlencode({"msg_signature": signature, "timestamp": timestamp, "nonce": nonce} | more)


def body_of(encrypted: str) -> bytes:
    return f"<xml><ToUserName><![CDATA[{CORP}]]></ToUserName><Encrypt><![CDATA[{encrypted}]]></Encrypt></xml>".encode()


def sealed(xml: bytes, *, receiveid: str = CORP, pair: Pair = PAIR) -> str:
    return encrypt(pair.key, xml, receiveid=receiveid)


def push(xml: bytes, *, client: Client | None = None, receiveid: str = CORP, pair: Pair = PAIR) -> Any:
    """Post a callback as WeCom does, with another random prefix and nonce each time."""
    encrypted = sealed(xml, receiveid=receiveid, pair=pair)
    return (client or Client()).post(
        f"/wxwork/callback?{query(encrypted, pair=pair)}", body_of(encrypted), content_type="text/xml"
    )


def push_json(xml: bytes) -> Any:
    encrypted = sealed(xml)
    body = json.dumps({"tousername": CORP, "encrypt": encrypted, "agentid": "1000025"})
    return Client().post(f"/wxwork/callback?{query(encrypted)}", body, content_type="application/json")
