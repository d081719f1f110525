import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.conf import settings

SUPERVISE = """
import sys, time
from pathlib import Path
from scrm.demo.processes import Processes

processes = Processes(Path(sys.argv[1]), {})
sleep = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
processes.start("sleeper", [sys.executable, "-S", "-c", sleep])
time.sleep(60)
"""


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_a_demo_that_is_killed_leaves_no_process_behind(tmp_path):
    demo = subprocess.Popen([sys.executable, "-c", SUPERVISE, tmp_path], cwd=settings.BASE_DIR)
    log = tmp_path / "sleeper.log"
    deadline = time.monotonic() + 20
    while not (log.exists() and log.read_text().endswith("\n")) and time.monotonic() < deadline:
        time.sleep(0.05)
    pid = int(log.read_text())
    assert is_alive(pid)
    demo.kill()
    demo.wait()
    try:
        deadline = time.monotonic() + 5
        while is_alive(pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not is_alive(pid)
    finally:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)
