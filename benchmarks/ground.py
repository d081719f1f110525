"""The ground under the benchmarks: embedded servers of their own, as durable as real ones, and a table of results.

Everything in one run of `python -m benchmarks` is measured on the same servers with the same settings, so that ratios
mean something; absolute times are those of the machine it ran on.
"""

import fcntl
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import django

from scrm import embedded

RESULTS = Path(__file__).parent / "RESULTS.md"


@contextmanager
def servers() -> Iterator[None]:
    """Start servers in a folder of their own, set Django up on them, and stop them at the end."""
    folder = embedded.local_folder(os.environ) / "bench"
    for name in ("DATABASE_URL", "DEPARTMENT_DATABASES", "REDIS_URL", "CELERY_BROKER_URL"):
        os.environ.pop(name, None)  # never somebody's real ones
    os.environ["DJANGO_SETTINGS_MODULE"] = "scrm.settings"
    os.environ["LOG_LEVEL"] = "WARNING"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "in-use").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"Another benchmark runs on {folder}: two would empty each other's tables.") from None
        with embedded.provide(os.environ, folder, durable=True):
            django.setup()
            yield


@dataclass
class Row:
    """One line of the table. ratio is what `target` speaks of; detail says what each side did, with its figures."""

    what: str
    against: str
    ratio: str
    target: str
    holds: bool
    detail: str


@dataclass
class Results:
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, what: str, against: str, ratio: str, target: str, *, holds: bool, detail: str) -> None:
        self.rows.append(Row(what, against, ratio, target, holds, detail))
        print(f"  {'ok  ' if holds else 'MISS'} {what}: {ratio} (target {target}) - {detail}", flush=True)

    def note(self, text: str) -> None:
        self.notes.append(text)
        print(f"  {text}", flush=True)

    def markdown(self, heading: str) -> str:
        lines = [
            f"## {heading}",
            "",
            f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}.",
            "",
            "| | what | against | ratio | target | figures |",
            "|---|---|---|---|---|---|",
            *(
                f"| {'✓' if row.holds else '✗'} | {row.what} | {row.against} | **{row.ratio}** | {row.target} "
                f"| {row.detail} |"
                for row in self.rows
            ),
            "",
            *(f"- {note}" for note in self.notes),
            "",
        ]
        return "\n".join(lines)


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def median_of(rounds: int, work: Callable[[], object]) -> float:
    """Return the median of the seconds that work takes, over some rounds."""
    return statistics.median(timed(work) for _ in range(rounds))


def peak_memory_mib() -> float:
    """Return the largest resident set that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
