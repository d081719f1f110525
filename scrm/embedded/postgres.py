"""The embedded PostgreSQL: one cluster with the control database and two department databases."""

import os
import shutil
import subprocess
from pathlib import Path

from scrm.embedded import programs, servers
from scrm.embedded.errors import EmbeddedServersError
from scrm.embedded.place import Place
from scrm.embedded.servers import HOST, Server

ROLE = "scrm"
CONTROL_DATABASE = "scrm"
HOMES = (100, 101)
DATABASES = (CONTROL_DATABASE, *(f"dept_{home}" for home in HOMES))

SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",  # a socket's path may have 107 characters, a checkout's more
    "max_connections": "300",  # web, workers, beat, keeper, psql, and tests with fifty processes
    "shared_buffers": "256MB",
    "max_locks_per_transaction": "256",  # a statement over all partitions of a dozen tables locks some 250
    "max_wal_size": "2GB",  # an import of ten million rows should not checkpoint all the time
    "random_page_cost": "1.1",  # measured: nights with few changes took a third of the time
    "jit": "off",  # short queries over partitions pay for compilation that they never use
    "timezone": "UTC",
    "log_timezone": "UTC",
}
# For tests: a crash of the machine may lose everything, a SIGKILL of any process nothing.
WITHOUT_DURABILITY = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "128MB"}


def server(place: Place, *, durable: bool, port: int = 0) -> Server:
    """Return the cluster of a place, made first if it is not there: about a second, in one step or not at all."""
    cluster = place.data / "postgres"
    if not cluster.exists():
        _make_cluster(place, cluster)
    settings = SETTINGS | ({} if durable else WITHOUT_DURABILITY)
    return Server(
        name="postgres",
        command=[
            str(programs.postgres_program(place, "postgres")),
            *("-D", str(cluster), "-p", "{port}"),
            *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
        ],
        log=str(place.folder / "postgres.log"),
        secret=place.secret,
        port=port,
        postmaster_pid=str(cluster / "postmaster.pid"),
        uid=place.account.uid if place.account else None,
        gid=place.account.gid if place.account else None,
    )


def url(port: int, secret: str, database: str = CONTROL_DATABASE) -> str:
    """Return the URL of one of its databases."""
    return f"postgres://{ROLE}:{secret}@{HOST}:{port}/{database}"


def department_databases(port: int, secret: str) -> str:
    """Return the value of DEPARTMENT_DATABASES."""
    return ",".join(f"{home}={url(port, secret, f'dept_{home}')}" for home in HOMES)


def _make_cluster(place: Place, cluster: Path) -> None:
    unfinished = cluster.with_name("postgres.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    password = place.write_private(place.data / "postgres.password", place.secret)
    place.make_folder(unfinished)
    _run(
        place,
        [
            str(programs.postgres_program(place, "initdb")),
            *("-D", str(unfinished), "--username", ROLE, "--pwfile", str(password)),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync", "--no-instructions"),
            # The password has 128 random bits: slow hashing would only slow down every new connection.
            *("-c", "scram_iterations=1"),
        ],
    )
    # In single-user mode, so that the server is started once, and complete.
    _run(
        place,
        [str(programs.postgres_program(place, "postgres")), "--single", "-F", "-D", str(unfinished), "postgres"],
        "".join(f'CREATE DATABASE "{name}" STRATEGY file_copy;\n' for name in DATABASES),
    )
    password.unlink()
    unfinished.rename(cluster)


def _run(place: Place, command: list[str], text: str = "") -> None:
    account = place.account
    try:
        done = subprocess.run(
            command,
            input=text.encode(),
            capture_output=True,
            check=False,
            cwd="/",
            env=servers.environment(),
            umask=0o077,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    except OSError as error:
        raise EmbeddedServersError(f"{os.path.basename(command[0])} cannot be run: {error}.") from error
    output = (done.stdout + done.stderr).decode(errors="replace")
    # Single-user mode ends well even when a statement failed.
    if done.returncode or "ERROR:" in output:
        raise EmbeddedServersError(f"{os.path.basename(command[0])} failed:\n{output.strip()[-2000:]}")
