"""Callbacks of the tests' own, and a handler that does what they say and writes down when.

    <Event>test_deed</Event> <ChangeType>go</ChangeType> <ExternalUserID>wm1</ExternalUserID> <N>7</N>
    <Do>sleep:0.5 | wait:/path | raise:RetryError | upsert:101</Do>

The journal is a file that all processes append to: `begin wm1 7 <pid>`, `end wm1 7 <pid>`.
"""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from django.db import IntegrityError, OperationalError

from customers.directory import DirectoryError, upsert
from customers.records import CustomerData
from scrm.sharding import HomeUnavailableError
from wxwork import errors
from wxwork.handlers import handles
from wxwork.messages import Message

EVENT = "test_deed"
BASE = int(datetime(2026, 11, 25, tzinfo=UTC).timestamp())

ERRORS: dict[str, Callable[[], Exception]] = {
    "RetryError": lambda: errors.RetryError("busy", path="/x"),
    "UnreachableError": lambda: errors.UnreachableError("no route", path="/x"),
    "LaterError": lambda: errors.LaterError("later", path="/x"),
    "LimitedError": lambda: errors.LimitedError("full", path="/x", retry_after_seconds=90),
    "ConfigError": lambda: errors.ConfigError("wrong secret", path="/x"),
    "not_visible": lambda: errors.ConfigError("not visible", path="/x", code=60011),
    "DataError": lambda: errors.DataError("not there", path="/x"),
    "UnknownCodeError": lambda: errors.UnknownCodeError("what", path="/x"),
    "HomeUnavailableError": lambda: HomeUnavailableError(101),
    "busy": lambda: DirectoryError("busy", "wm1"),
    "department_unavailable": lambda: DirectoryError("department_unavailable", "wm1", home=101),
    "erasure_in_progress": lambda: DirectoryError("erasure_in_progress", "wm1"),
    "address_taken": lambda: DirectoryError("address_taken", "wm1"),
    "OperationalError": lambda: OperationalError("gone\nDETAIL: 13800138000"),
    "IntegrityError": lambda: IntegrityError("twice\nDETAIL: Key (mobile)=(13800138000)"),
    "ValueError": lambda: ValueError("not a number: 13800138000"),
    "unstorable": lambda: ValueError("a\0b\ud800"),
}


def deed(who: str, number: int, *, do: str = "", at: int = 0, change_type: str = "go") -> bytes:
    """Return the XML of a callback about somebody, `at` seconds after BASE."""
    return (
        f"<xml><ToUserName><![CDATA[wwtest]]></ToUserName><FromUserName>sys</FromUserName>"
        f"<CreateTime>{BASE + at}</CreateTime><MsgType>event</MsgType><Event><![CDATA[{EVENT}]]></Event>"
        f"<ChangeType><![CDATA[{change_type}]]></ChangeType><ExternalUserID><![CDATA[{who}]]></ExternalUserID>"
        f"<N>{number}</N><Do><![CDATA[{do}]]></Do></xml>"
    ).encode()


def journal() -> list[list[str]]:
    """Return the journal's lines as words."""
    path = Path(os.environ["DEEDS_JOURNAL"])
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def done(who: str | None = None) -> list[int]:
    """Return the numbers of the deeds that were ended, of one person or all, in order."""
    return [int(line[2]) for line in journal() if line[0] == "end" and who in (None, line[1])]


def _write(*words: object) -> None:
    with Path(os.environ["DEEDS_JOURNAL"]).open("ab", buffering=0) as file:
        file.write(" ".join(map(str, words)).encode() + b"\n")


@handles(EVENT, "go")
def do(message: Message) -> None:
    """Do what the callback says."""
    who, number = message.external_userid, message.text("N")
    what, _, how = message.text("Do").partition(":")
    _write("begin", who, number, os.getpid())
    if what == "sleep":
        time.sleep(float(how))
    elif what == "wait":
        deadline = time.monotonic() + 30
        while not Path(how).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
    elif what == "raise":
        raise ERRORS[how]()
    elif what == "upsert":
        upsert(CustomerData(who, fields={"name": f"n{number}"}, home=int(how)))
    _write("end", who, number, os.getpid())
