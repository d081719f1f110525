"""The demo's own file and words: .local/demo.env, and what is printed when all is up."""

import os
import secrets
import shlex
import string
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote

ENV_NAMES = (
    "BASE_URL", "DATABASE_URL", "DEPARTMENT_DATABASES", "REDIS_URL", "CELERY_BROKER_URL", "API_KEY", "ADMIN_USERNAME",
    "ADMIN_PASSWORD", "WXWORK_CORP_ID", "WXWORK_AGENT_ID", "WXWORK_SECRET", "WXWORK_CONTACTS_SECRET",
    "WXWORK_CALLBACK_TOKEN", "WXWORK_CALLBACK_AES_KEY", "WXWORK_BASE_URL",
)  # fmt: skip


def read_env(path: Path) -> dict[str, str]:
    """Return what write_env has written, or nothing."""
    if not path.exists():
        return {}
    pairs = (word.partition("=") for word in shlex.split(path.read_text(), comments=True) if "=" in word)
    return {name: value for name, _equals, value in pairs}


def write_env(path: Path, values: dict[str, str]) -> None:
    """Write a file that a shell can source, readable by its owner only."""
    text = "".join(f"{name}={shlex.quote(values.get(name, ''))}\n" for name in ENV_NAMES)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path.with_suffix(".new"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"# Written by `make demo`: . {path.name} for psql, redis-cli and curl to join in.\n{text}")
    path.with_suffix(".new").replace(path)


def new_password() -> str:
    return secrets.token_urlsafe(12)


def new_word(length: int) -> str:
    """Return random letters and digits, as WeCom wants a callback's token (32 at most) and EncodingAESKey (43)."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(length))


def wait_until_ready(url: str, *, seconds: float) -> None:
    """Return when a URL answers 200. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own loopback address
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise TimeoutError(f"{url} did not answer within {seconds:.0f} s; see the logs in")


def curl_lines(base_url: str, api_key: str, external_userid: str) -> list[str]:
    """Return three commands that work when pasted: a lookup, a behaviour, the profile that follows from them."""
    customer = f"{base_url}/api/v1/customers/{quote(external_userid, safe='')}/"
    key = f"-H 'Authorization: Bearer {api_key}'"
    behaviour = (
        '{"behaviors": [{"event_id": "hello-1", "external_userid": "' + external_userid + '", "kind": "purchase", '
        '"channel": "store", "amount": "99.00", "occurred_at": "' + time.strftime("%Y-%m-%dT%H:%M:%S+08:00") + '"}]}'
    )
    return [
        f"curl -i {key} {customer}",
        f"curl {key} -H 'Content-Type: application/json' -d '{behaviour}' {base_url}/api/v1/behaviors/",
        f"curl {key} {customer}profile/",
    ]
