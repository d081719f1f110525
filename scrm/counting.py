"""Let the workers of one web server count together. Pure: runs before Django, and before prometheus_client is imported.

Granian's workers are processes. Without a folder that they share, each scrape of /metrics would reach one of them, and
every counter would jump up and down.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
PREFIX = "scrm-metrics-"


def share_counters(environ: MutableMapping[str, str]) -> Path | None:
    """Name a folder for the counters of this server's workers, and make it; what dead servers left is deleted.

    A folder that the environment names is taken as it is, and made if it is missing. Returns None where it is too late:
    prometheus_client has been imported and counts for this process alone (runserver, tests).
    """
    if "prometheus_client" in sys.modules:
        return None
    if not environ.get(VARIABLE):
        _delete_left_behind()
        # Workers have one parent, which lives as long as the server.
        environ[VARIABLE] = str(Path(tempfile.gettempdir()) / f"{PREFIX}{os.getuid()}-{os.getppid()}")
    folder = Path(environ[VARIABLE])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _delete_left_behind() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}{os.getuid()}-*"):
        pid = int(folder.name.rpartition("-")[2])
        if pid != os.getppid() and not _lives(pid):
            shutil.rmtree(folder, ignore_errors=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
