"""A burst of 5 000 callbacks in a minute, with two workers killed and one department database stopped for 20 s."""

import os
import re
import tempfile
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import connections

from benchmarks import burst, data
from benchmarks.ground import Results
from scrm import embedded
from tests.servers import PrivatePostgres, private_folder, private_postgres

FRAGILE_HOME = 101


def measure(results: Results, _customers: int) -> None:
    """Measure how fast callbacks are answered, and see that none is lost; dept_101 is on a server of its own."""
    folder = private_folder(Path(tempfile.mkdtemp(prefix="scrm-burst-")))
    server = private_postgres(folder)
    before, entry_before = os.environ["DEPARTMENT_DATABASES"], dict(connections.settings[f"dept_{FRAGILE_HOME}"])
    try:
        _move_home(server)
        call_command("migrate_shards", verbosity=0)
        data.empty()
        _report(results, burst.run(burst.Burst(), os.environ, folder / "logs", server.stop, server.start))
    finally:
        os.environ["DEPARTMENT_DATABASES"] = before
        connections[f"dept_{FRAGILE_HOME}"].close()
        connections.settings[f"dept_{FRAGILE_HOME}"] |= entry_before
        settings.DATABASES[f"dept_{FRAGILE_HOME}"] |= entry_before
        server.start()
        server.stop()
        embedded.remove(folder)


def _move_home(server: PrivatePostgres) -> None:
    url = server.url(f"dept_{FRAGILE_HOME}")
    os.environ["DEPARTMENT_DATABASES"] = re.sub(
        rf"{FRAGILE_HOME}=[^,]*", f"{FRAGILE_HOME}={url}", os.environ["DEPARTMENT_DATABASES"]
    )
    connections[f"dept_{FRAGILE_HOME}"].close()
    entry = connections.settings[f"dept_{FRAGILE_HOME}"]
    entry |= {"HOST": "127.0.0.1", "PORT": str(server.port), "PASSWORD": server.secret, "USER": "scrm"}
    settings.DATABASES[f"dept_{FRAGILE_HOME}"] |= entry


def _report(results: Results, outcome: burst.Outcome) -> None:
    seconds = outcome.pushes["seconds"]
    lost = outcome.pushes["outcomes"].get("failed", 0) + len(outcome.disagreements)
    results.add(
        "callbacks: 5,000 in a minute, 10 % twice, 5 % out of order, two workers killed, a department down for 20 s",
        "-", f"{lost} lost", "0 lost", holds=lost == 0 and outcome.states.get("dead", 0) == 0,
        detail=f"{outcome.pushes['outcomes']}, in the inbox {outcome.states}; "
        f"empty {outcome.drained_after_seconds:.0f} s after the last; every relation compared with the simulator",
    )  # fmt: skip
    results.add(
        "callbacks: answered", "-", f"99 % within {seconds['p99'] * 1000:.0f} ms", "≤ 100 ms",
        holds=seconds["p99"] <= 0.1,
        detail=f"half within {seconds['p50'] * 1000:.0f} ms, all within {seconds['max'] * 1000:.0f} ms",
    )  # fmt: skip
    for one in outcome.disagreements[:5]:
        results.note(one)
