import os
import subprocess
import sys

from scrm import counting
from tests.conftest import CHECKOUT

COUNT_IN_TWO_PROCESSES = """
import os, sys
from scrm.counting import share_counters
folder = share_counters(os.environ)
from prometheus_client import CollectorRegistry, Counter, generate_latest, multiprocess
counter = Counter("things", "x")
counter.inc(2)
child = os.fork()
if child == 0:
    from prometheus_client import values
    counter.inc(3)
    os._exit(0)
os.waitpid(child, 0)
registry = CollectorRegistry()
multiprocess.MultiProcessCollector(registry)
print(folder)
print(generate_latest(registry).decode())
"""


def run(script, **environ):
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **environ},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def test_workers_of_one_server_count_together(tmp_path):
    output = run(COUNT_IN_TWO_PROCESSES, TMPDIR=str(tmp_path))
    assert output.splitlines()[0] == str(tmp_path / f"scrm-metrics-{os.getuid()}-{os.getpid()}")
    assert "things_total 5.0" in output


def test_a_folder_that_the_environment_names_is_taken(tmp_path):
    output = run(COUNT_IN_TWO_PROCESSES, PROMETHEUS_MULTIPROC_DIR=str(tmp_path / "mine"))
    assert output.splitlines()[0] == str(tmp_path / "mine")


def test_what_dead_servers_left_is_deleted_and_what_living_ones_use_is_not(tmp_path, monkeypatch):
    gone = subprocess.Popen(["true"])
    gone.wait()
    dead, living = (tmp_path / f"scrm-metrics-{os.getuid()}-{pid}" for pid in (gone.pid, os.getpid()))
    for folder in (dead, living):
        folder.mkdir()
        (folder / "counter_1.db").touch()
    run("import os; from scrm.counting import share_counters; share_counters(os.environ)", TMPDIR=str(tmp_path))
    assert not dead.exists()
    assert (living / "counter_1.db").exists()


def test_where_it_is_too_late_nothing_is_named():
    environ = {}
    assert counting.share_counters(environ) is None
    assert environ == {}
