"""Faults, planted per path and counted down: what a real host, or the way to it, does now and then.

A fault applies to the next `times` calls of its path ("*": of any), `skip` of them unharmed first.

    errcode            a refused call with this code, and the endpoint's empty lists
    status             an HTTP status (500, 502, 504, 404 …) with an empty body
    latency_seconds    wait before answering; together with any other
    body               "truncated": JSON cut in half; "html": a page of a proxy; "no_errcode": success without errcode;
                       "warning": "ok, Warning: wrong json format. "; "empty": 200 with nothing
    reset              the connection is reset without an answer
    lost_answer        the call is carried out, and the connection reset before its answer
"""

import threading
from dataclasses import dataclass
from typing import Any

BODIES = ("truncated", "html", "no_errcode", "warning", "empty")


@dataclass
class Fault:
    path: str
    times: int | None = 1  # None: until faults are cleared
    skip: int = 0
    errcode: int | None = None
    status: int | None = None
    latency_seconds: float = 0.0
    body: str = ""
    reset: bool = False
    lost_answer: bool = False


class Faults:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def clear(self, path: str | None = None) -> int:
        """Forget the faults of a path, or all. Returns how many."""
        with self._lock:
            kept = [fault for fault in self._faults if path is not None and fault.path != path]
            gone = len(self._faults) - len(kept)
            self._faults = kept
            return gone

    def listed(self) -> list[dict[str, Any]]:
        with self._lock:
            return [dict(vars(fault)) for fault in self._faults]

    def take(self, path: str) -> Fault | None:
        """Return the fault that this call suffers."""
        with self._lock:
            for fault in self._faults:
                if fault.path not in (path, "*"):
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    return None
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._faults.remove(fault)
                return fault
        return None
