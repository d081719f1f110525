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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(number):
    process = start("--port", "0", "--customers", "50", "--seed", "3")
    try:
        url = url_of(process)
        state = httpx.get(f"{url}/_sim/state").json()
        assert (state["customers"], state["staff"]) == (50, 20)
        api = Api(url)
        assert len(api.get("externalcontact/get_follow_user_list")["follow_user"]) == 20
        process.send_signal(number)
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
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--customers", "-1"], "are not negative"),
        (["--callback-url", "http://127.0.0.1:1/", "--callback-token", "x", "--callback-aes-key", "short"], "43"),
        (["--host", "203.0.113.1", "--port", "0"], "Cannot listen"),
    ],
)
def test_what_cannot_be_is_said(arguments, says):
    process = start(*arguments)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert says in output
