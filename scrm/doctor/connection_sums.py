"""Connections: what all processes may open at the same time, against what each server allows.

A web or worker thread keeps one connection to each database that it has used. Fan-outs use FANOUT_CONNECTIONS threads
a process, each at most one connection to a department and one to the control database at a time.

    process    how many                threads each
    web        WEB_WORKERS             blocking threads of granian (GRANIAN_BLOCKING_THREADS)
    worker     WORKER_PROCESSES        1
    beat       1                       1, control database only
    keeper     1                       one for each chore
"""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from django.conf import settings
from django.db import DatabaseError, connections

from scrm import env, keeper
from scrm.doctor.databases import read_settings
from scrm.doctor.findings import Finding
from scrm.sharding import HomeUnavailableError
from scrm.sharding.inspection import server_of

LIMITS = ("max_connections", "superuser_reserved_connections", "reserved_connections")
# psql, a backup, migrate_shards: what engineers open beside the product.
SPARE = 10
# Without GRANIAN_BLOCKING_THREADS a worker of granian makes up to half of its share of the backlog.
GRANIAN_BACKLOG = 1024
# With DEBUG on it is `manage.py demo` that starts the processes, and so it starts them.
OF_THE_DEMO = {"WEB_WORKERS": "2", "GRANIAN_BLOCKING_THREADS": "4"}


@dataclass(frozen=True)
class Process:
    """A kind of process: how many of it run, and what each may have open."""

    name: str
    count: int
    threads: int
    fans_out: bool = True
    asks_departments: bool = True


@dataclass
class Server:
    """A PostgreSQL server: which of our databases are on it, and how many connections it leaves to us."""

    aliases: list[str]
    limit: int


def find_troubles() -> Iterator[Finding]:
    """Add up, server by server."""
    processes = our_processes((OF_THE_DEMO if settings.DEBUG else {}) | dict(os.environ))
    for server in _read_servers():
        wanted = sum(may_open(process, server.aliases, settings.FANOUT_CONNECTIONS) for process in processes)
        if wanted + SPARE > server.limit:
            place = server_of(server.aliases[0]).rpartition("/")[0]
            kinds = ", ".join(f"{one.count} {one.name} × {one.threads} threads" for one in processes)
            yield Finding(
                f"The server {place} ({', '.join(server.aliases)}) leaves us {server.limit} connections, "
                f"but all processes ({kinds}) may open {wanted}, and {SPARE} are for engineers.",
                "Raise max_connections there, or lower WEB_WORKERS, GRANIAN_BLOCKING_THREADS, WORKER_PROCESSES or "
                "FANOUT_CONNECTIONS.",
            )


def our_processes(environ: Mapping[str, str]) -> list[Process]:
    """Return what runs, by the variables that compose starts it with. Several machines: set the sums and ask again."""
    workers = max(1, env.number(environ, "WEB_WORKERS", 2))
    threads = env.number(environ, "GRANIAN_BLOCKING_THREADS", max(1, GRANIAN_BACKLOG // workers // 2))
    chores = max(1, len(keeper.registered()))
    return [
        Process("web", workers, threads),
        Process("worker", env.number(environ, "WORKER_PROCESSES", 2), 1),
        Process("beat", 1, 1, fans_out=False, asks_departments=False),
        Process("keeper", 1, chores),
    ]


def may_open(process: Process, aliases: list[str], fanout_connections: int) -> int:
    """Return how many connections all processes of a kind may have open to a server with these databases.

    >>> may_open(Process("web", 2, 4), ["default", "dept_100", "dept_101"], 4)  # 2 × (4 × 3 + 4 + 4)
    40
    """
    departments = [alias for alias in aliases if alias != "default"]
    asked = (["default"] if "default" in aliases else []) + (departments if process.asks_departments else [])
    of_fanout = fanout_connections * (("default" in asked) + bool(departments)) if process.fans_out else 0
    return process.count * (process.threads * len(asked) + of_fanout)


def _read_servers() -> list[Server]:
    aliases: defaultdict[str, list[str]] = defaultdict(list)
    limits: dict[str, int] = {}
    for alias in connections:
        try:
            with connections[alias].cursor() as cursor:
                # Two names for one host are one server.
                cursor.execute("SELECT system_identifier::text FROM pg_control_system()")
                server = cursor.fetchone()[0]
            limit, *reserved = (int(value) for _, value in sorted(read_settings(alias, LIMITS).items()))
        except (DatabaseError, HomeUnavailableError):
            continue
        aliases[server].append(alias)
        limits[server] = limit - sum(reserved)
    return [Server(names, limits[server]) for server, names in aliases.items()]
