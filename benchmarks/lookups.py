"""Lookups: one cached read against a bare GET, HTTP against a constant view, loads under a Zipf load, a cold crowd."""

import itertools
import json
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management import call_command

from benchmarks import data
from benchmarks.ground import Results, timed
from customers.directory import upsert_many
from customers.lookup import CACHE
from customers.records import CustomerData, FollowData
from scrm.api.keys import create_key
from scrm.api.models import ApiKey

PEOPLE = 100_000
READERS, PROCESSES = 1_000, 4
READS, WRITE_SHARE, ZIPF = 400_000, 0.001, 1.0
WRK = ["wrk", "-t1", "-c32"]
WRK_SECONDS = 8


def measure(results: Results, _customers: int) -> None:
    """Measure all of it, over 100 000 customers."""
    call_command("migrate_shards", verbosity=0)
    people = _people()
    _in_process(results, people[0])
    _over_http(results, people[0])
    _cold_crowd(results, people[1])
    _zipf(results, people)


def _people() -> list[str]:
    """Create 100 000 customers with a follow each, through the product."""
    data.empty()
    names = [f"wmLOOKUP{n:06}" for n in range(PEOPLE)]
    for start in range(0, PEOPLE, 10_000):
        done = upsert_many(
            [
                CustomerData(
                    name, {"name": "王小明", "mobile": "13812345678"}, follows=(FollowData("ZhangSan", "老客"),)
                )
                for name in names[start : start + 10_000]
            ]
        )
        if done.rejected:
            raise next(iter(done.rejected.values()))
    return names


def _in_process(results: Results, person: str) -> None:
    """Alternate rounds of both, so that a slow moment of the machine meets both."""
    CACHE.get(person)
    client = CACHE.client.redis  # the bare redis-py client
    key = CACHE.value_key(person)
    bare, ours = [], []
    for _round in range(15):
        bare.append(timed(lambda: [client.get(key) for _ in range(2_000)]))
        ours.append(timed(lambda: [CACHE.get(person) for _ in range(2_000)]))
    ratio = statistics.median(ours) / statistics.median(bare)
    results.add(
        "cached lookup inside the process", "a bare redis-py GET", f"{ratio:.2f} ×", "≤ 1.5 ×", holds=ratio <= 1.5,
        detail=f"{statistics.median(ours) / 2_000 * 1e6:.0f} µs against {statistics.median(bare) / 2_000 * 1e6:.0f} µs",
    )  # fmt: skip


@contextmanager
def web() -> Iterator[str]:
    """Run granian with two workers on a free port; yield its base URL."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port),
               "--workers", "2", "--no-access-log", "scrm.wsgi:application"]  # fmt: skip
    server = subprocess.Popen(
        command, env={**os.environ, "DJANGO_SETTINGS_MODULE": "benchmarks.settings"}, stderr=subprocess.DEVNULL
    )
    try:
        base = f"http://127.0.0.1:{port}"
        for _attempt in range(300):
            try:
                urllib.request.urlopen(f"{base}/constant/", timeout=2).close()
                break
            except OSError:
                time.sleep(0.1)
        yield base
    finally:
        server.terminate()
        server.wait()


def fresh_key(name: str = "bench") -> str:
    ApiKey.objects.filter(name=name).delete()
    return create_key(name)


def _over_http(results: Results, person: str) -> None:
    if shutil.which("wrk") is None:
        results.note("Lookups over HTTP were not measured: install Debian's wrk.")
        return
    header = f"Authorization: Bearer {fresh_key()}"
    constant, ours = [], []
    with web() as base:
        urls = {"constant": f"{base}/constant/", "lookup": f"{base}/api/v1/customers/{person}/"}
        request = urllib.request.Request(urls["lookup"], headers=dict([header.split(": ")]))
        for _warm in range(4):
            with urllib.request.urlopen(request) as answer:
                assert json.load(answer)["external_userid"] == person
        for _round in range(3):
            constant.append(_requests_per_second(urls["constant"], header))
            ours.append(_requests_per_second(urls["lookup"], header))
    ratio = statistics.median(ours) / statistics.median(constant)
    results.add(
        "cached lookup over HTTP, requests per second", "a constant Django view behind the same middleware",
        f"{ratio:.2f} ×", "≥ 0.6 ×", holds=ratio >= 0.6,
        detail=f"{statistics.median(ours):,.0f}/s against {statistics.median(constant):,.0f}/s, 32 connections of wrk",
    )  # fmt: skip


def _requests_per_second(url: str, header: str) -> float:
    answer = subprocess.run(
        [*WRK, f"-d{WRK_SECONDS}s", "-H", header, url], capture_output=True, text=True, check=True
    ).stdout
    if "Non-2xx" in answer:
        raise RuntimeError(answer)
    found = re.search(r"Requests/sec:\s+([\d.]+)", answer)
    assert found
    return float(found[1])


def _crowd(*arguments: str) -> list[dict[str, int]]:
    """Start the reader processes, let them begin together, and return what each reports."""
    readers = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.reader", str(READERS // PROCESSES), str(number), *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number in range(PROCESSES)
    ]  # fmt: skip
    for reader in readers:
        assert reader.stdout is not None
        reader.stdout.readline()
    for reader in readers:
        assert reader.stdin is not None
        reader.stdin.write("go\n")
        reader.stdin.flush()
    reports = []
    for reader in readers:
        out, _err = reader.communicate(timeout=600)
        reports.append(json.loads(out))
    return reports


def _cold_crowd(results: Results, person: str) -> None:
    worst = 0
    for _trial in range(3):
        CACHE.drop([person])
        reports = _crowd("one", person)
        worst = max(worst, sum(report["loads"] for report in reports))
        assert sum(report["reads"] for report in reports) == READERS
    results.add(
        f"cold key, {READERS:,} readers in {PROCESSES} processes at once", "-", f"{worst} load", "1 load",
        holds=worst == 1, detail="the most of three trials",
    )  # fmt: skip


def _zipf(results: Results, people: list[str]) -> None:
    for person in people:
        CACHE.get(person)
    began = time.perf_counter()
    reports = _crowd("zipf", str(READS // READERS), str(WRITE_SHARE), str(ZIPF), str(len(people)))
    seconds = time.perf_counter() - began
    total = {name: sum(report[name] for report in reports) for name in reports[0]}
    if total["reads"] + total["writes"] != READS:
        raise RuntimeError(f"Of {READS:,} reads and writes only {total} were done: readers died, see above.")
    share = total["loads"] / total["reads"]
    results.add(
        f"loads from the databases, {len(people):,} customers, Zipf s = {ZIPF}, {WRITE_SHARE:.1%} writes, "
        f"{READERS:,} readers, warm",
        "no cache", f"{share:.2%}", "≤ 0.5 %", holds=share <= 0.005,
        detail=f"{total['loads']:,} loads for {total['reads']:,} reads and {total['writes']:,} writes, {seconds:.0f} s",
    )  # fmt: skip


def weights(size: int, exponent: float) -> list[float]:
    """Return cumulated Zipf weights: the k-th most popular is wanted 1/k^exponent as often as the first."""
    return list(itertools.accumulate(1 / rank**exponent for rank in range(1, size + 1)))


def popular(size: int) -> list[int]:
    """Return the numbers 0 … size-1 in order of popularity, so that the popular ones are of any home and bucket."""
    return random.Random(data.SEED).sample(range(size), size)
