"""`manage.py wxwork_simulator` starts without any server of ours, serves, and stops when it is told to."""

import os
import signal
import subprocess
import sys
import time
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from .conftest import Api


def start(*arguments: str, **environ: str) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if not name.endswith(("_URL", "_DATABASES"))}
    return subprocess.Popen(
        [sys.executable, "manage.py", "wxwork_simulator", *arguments],
        cwd=settings.BASE_DIR,
        env={**kept, **environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def url_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("WeCom simulator at http://127.0.0.1:"), line + process.stdout.read()
    return line.split()[-1]


def test_it_serves_until_it_is_told_to_stop():
    process = start("--port", "0", "--customers", "50", "--seed", "3")
    try:
        url = url_of(process)
        state = httpx.get(f"{url}/_sim/state").json()
        assert (state["customers"], state["staff"]) == (50, 20)
        api = Api(url)
        assert len(api.get("externalcontact/get_follow_user_list")["follow_user"]) == 20
        process.terminate()
        output, _ = process.communicate(timeout=10)
        assert process.returncode == 0
        assert output.endswith("WeCom simulator stopped.\n")
    finally:
        process.kill()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/_sim/state")


def test_customers_keep_arriving_and_are_told_of(receiver: Any):
    process = start(
        *("--port", "0", "--customers", "20", "--arrivals-every", "0.05"),
        WXWORK_SIMULATOR_CALLBACK_URL=receiver.url,
        WXWORK_CALLBACK_TOKEN="newToken,oldToken",
        WXWORK_CALLBACK_AES_KEY=f"{'a' * 43},{'b' * 43}",
    )
    try:
        url = url_of(process)
        deadline = time.monotonic() + 20
        while len(receiver.got) < 5 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert httpx.get(f"{url}/_sim/state").json()["customers"] > 20
        assert httpx.get(f"{url}/_sim/pushes").json()["outcomes"]["delivered"] >= 5
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    finally:
        process.kill()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"customers": -1}, "are not negative"),
        ({"callback_url": "http://x/", "callback_token": "t", "callback_aes_key": "short"}, "of 43 characters"),
    ],
)
def test_options_that_cannot_be_are_said(options, says):
    with pytest.raises(CommandError, match=says):
        call_command("wxwork_simulator", **options)


def test_a_port_that_cannot_be_had_is_said():
    process = start("--host", "203.0.113.1", "--port", "0")  # an address of documentation, nobody's own
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "Cannot listen on 203.0.113.1:0" in output
