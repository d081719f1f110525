"""A full sync of many customers, killed three times, against one that was left alone: the same customers and calls.

    simulator (its own process) ◄──calls── manage.py sync_wxwork --full ──► databases of this benchmark

The digest of a sync is made of external_userid, fields, follows and tags: addresses differ from one to the other.
Both begin with nothing of WeCom's stored, staff neither: whoever is stored and not listed any more costs a call each,
once, so that what an earlier run with more customers has left would be paid for by the first of the two alone.
"""

import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import orjson
from django.core.management import call_command
from django.db import connections

from benchmarks import data
from benchmarks.ground import Results
from scrm import sharding
from scrm.demo.processes import Processes, free_port

MOST = 100_000
KILLS = 3
SEED = 20_260_101
BATCH = "/cgi-bin/externalcontact/batch/get_by_user"
MANAGE = [sys.executable, "manage.py"]
READY_SECONDS = 120
MEMORY_MIB = 300
# What a sync writes on control but for the directory; with all that refers to it.
STORED = "sync_runs, sync_batches, customers_staff, customers_department, customers_taggroup, customer_groups"
CONTENTS = """
SELECT c.external_userid, c.name, c.type, c.gender, c.unionid, c.corp_name, c.position,
    (SELECT json_agg(json_build_array(f.userid, f.remark, f.description, f.mobiles, f.add_way, f.state, f.created_at,
        f.lost_at IS NULL, f.tag_ids) ORDER BY f.userid)::text
     FROM follows AS f WHERE f.customer_id = c.customer_id AND f.bucket = c.bucket)
FROM customers AS c
"""


def measure(results: Results, customers: int) -> None:
    """Sync once undisturbed and once with kills, and compare what is stored and what it cost."""
    customers = min(customers, MOST)
    call_command("migrate_shards", verbosity=0)
    with ExitStack() as stack:
        port = free_port(0)
        environ = {
            **os.environ,
            "DEBUG": "1",
            "WXWORK_BASE_URL": f"http://127.0.0.1:{port}",
            "WXWORK_CORP_ID": "wwsimulator",
            "WXWORK_AGENT_ID": "1000025",
            "WXWORK_SECRET": "simulator-secret",
            "WXWORK_CONTACTS_SECRET": "simulator-secret",
        }
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="scrm-sync-")))
        processes = Processes(logs, environ)
        stack.callback(processes.stop)
        processes.start(
            "simulator",
            [*MANAGE, "wxwork_simulator", "--port", str(port), "--customers", str(customers), "--seed", str(SEED)],
        )
        sim = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}/_sim", timeout=60))
        _wait_until_ready(sim)
        whole = _sync(sim, environ, customers, kills=0)
        killed = _sync(sim, environ, customers, kills=KILLS)
    _report(results, customers, whole, killed)


def _sync(sim: httpx.Client, environ: dict[str, str], customers: int, *, kills: int) -> dict[str, Any]:
    """Sync into empty databases, killed so often on its way. Returns what it came to."""
    data.empty()
    with connections["default"].cursor() as cursor:
        cursor.execute(f"TRUNCATE {STORED} CASCADE")
    calls_before, began = _calls(sim), time.monotonic()
    pages = customers * 112 // 10_000
    draw = random.Random(SEED)
    peak = 0.0
    for kill in range(kills):
        process = _start(environ)
        goal = calls_before[BATCH] + int(pages * (kill + draw.uniform(0.2, 0.8)) / (kills + 1))
        while _calls(sim)[BATCH] < goal and process.poll() is None:
            peak = max(peak, _memory(process.pid))
            time.sleep(0.02)
        time.sleep(draw.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        _let_time_pass()
    process = _start(environ)
    while process.poll() is None:
        peak = max(peak, _memory(process.pid))
        time.sleep(0.2)
    if process.returncode:
        raise RuntimeError(f"The sync ended with {process.returncode}: {_why()}")
    calls = _calls(sim)
    return {
        "digest": _digest(),
        "customers": _count(),
        "calls": {path: made for path in calls if (made := calls[path] - calls_before.get(path, 0))},
        "seconds": time.monotonic() - began,
        "peak": peak,
    }


def _start(environ: dict[str, str]) -> "subprocess.Popen[bytes]":
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([*MANAGE, "sync_wxwork", "--full"], env=environ, **quiet)  # type: ignore[call-overload, no-any-return]


def _let_time_pass() -> None:
    """Take the half minute off after which a dead worker's sync may be taken up: it measures nothing."""
    with connections["default"].cursor() as cursor:
        cursor.execute("UPDATE sync_runs SET heartbeat_at = now() - interval '1 hour' WHERE state = 'running'")


def _why() -> str:
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT state, error, steps_done FROM sync_runs")
        return str(cursor.fetchall())


def _calls(sim: httpx.Client) -> dict[str, int]:
    found: dict[str, int] = sim.get("/calls").json()["calls"]
    return {BATCH: 0, **found}


def _memory(pid: int) -> float:
    """Return what a process holds, in MiB; 0 if it is over."""
    try:
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def _digest() -> str:
    """Return one word for all that is stored of customers, whatever their addresses."""
    total = 0
    for home in sharding.shard_map().homes:
        with connections[sharding.alias(home)].cursor() as cursor:
            cursor.execute(CONTENTS)
            while rows := cursor.fetchmany(5_000):
                for row in rows:
                    one = hashlib.sha256(orjson.dumps(row, default=str)).digest()
                    total = (total + int.from_bytes(one, "big")) % 2**256
    return f"{total:064x}"


def _count() -> int:
    found = 0
    for home in sharding.shard_map().homes:
        with connections[sharding.alias(home)].cursor() as cursor:
            cursor.execute("SELECT count(*) FROM customers")
            found += cursor.fetchone()[0]
    return found


def _wait_until_ready(sim: httpx.Client) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            sim.get("/state").raise_for_status()
            return
        except httpx.HTTPError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _report(results: Results, customers: int, whole: dict[str, Any], killed: dict[str, Any]) -> None:
    results.add(
        f"a full sync of {customers:,} customers, killed {KILLS} times",
        "one that was not",
        "the same" if killed["digest"] == whole["digest"] else "different",
        "the same",
        holds=killed["digest"] == whole["digest"] and whole["customers"] == killed["customers"] == customers,
        detail=f"{whole['customers']:,} and {killed['customers']:,} customers",
    )
    made, undisturbed = killed["calls"], whole["calls"]
    extra = sum(made.values()) / sum(undisturbed.values()) - 1
    differing = [
        f"{path.removeprefix('/cgi-bin/')} {made.get(path, 0):,} against {undisturbed.get(path, 0):,}"
        for path in sorted({*made, *undisturbed})
        if made.get(path, 0) != undisturbed.get(path, 0)
    ]
    # Fewer calls than the other would say that the two did not begin alike.
    results.add(
        "its calls of WeCom", "the other's", f"{extra:+.2%}", "0 to +5 %", holds=0 <= extra <= 0.05,
        detail="; ".join([f"{sum(made.values()):,} against {sum(undisturbed.values()):,}", *differing]),
    )  # fmt: skip
    peak = max(whole["peak"], killed["peak"])
    results.add(
        "memory of a full sync", "-", f"{peak:.0f} MiB", f"≤ {MEMORY_MIB} MiB", holds=peak <= MEMORY_MIB,
        detail="the largest resident set of the process, looked at five times a second",
    )  # fmt: skip
    results.note(f"a full sync takes {whole['seconds']:.0f} s here, {whole['customers'] / whole['seconds']:.0f}/s.")
