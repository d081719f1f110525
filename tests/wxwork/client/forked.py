"""Other processes of the product, in 20 ms each: forked off one that has set Django up and has no connection.

To start each anew takes 2.4 s of processor, and two of those are what there is.
"""

import multiprocessing
import os
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

import django
from django.conf import settings as django_settings

if not django_settings.configured:  # in the one that is forked, not in pytest
    os.environ["DJANGO_SETTINGS_MODULE"] = "scrm.settings"
    django.setup()
    import wxwork.client  # noqa: F401

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["pytest", __name__])


class Process:
    """A process that runs a piece of Python: stdout is what it prints, stdin what it reads."""

    def __init__(self, code: str, settings: Mapping[str, Any]) -> None:
        read_in, write_in = _context.Pipe(duplex=False)
        read_out, write_out = _context.Pipe(duplex=False)
        self._process = _context.Process(target=run, args=(code, dict(settings), read_in, write_out), daemon=True)
        self._process.start()
        read_in.close()
        write_out.close()
        self._pipes = write_in, read_out
        self.stdin = open(write_in.fileno(), "w", closefd=False)  # noqa: SIM115 - closed with its pipe
        self.stdout = open(read_out.fileno(), closefd=False)  # noqa: SIM115

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        """Kill it, as SIGKILL does, and wait for its end."""
        self._process.kill()
        self.wait()

    def wait(self) -> None:
        self._process.join(60)

    def close(self) -> None:
        self.kill()
        for pipe in self._pipes:
            pipe.close()


def run(code: str, settings: Mapping[str, Any], stdin: Connection, stdout: Connection) -> None:
    os.dup2(stdin.fileno(), 0)
    os.dup2(stdout.fileno(), 1)
    stdin.close()
    stdout.close()
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
    for name, value in settings.items():
        setattr(django_settings, name, value)
    exec(code, {"__name__": "__main__"})
    sys.stdout.flush()
