"""Databases: reachable, migrated, complete, durable."""

import re
from collections.abc import Iterator

from django.conf import settings
from django.db import DatabaseError, connections

from scrm.doctor.findings import Finding
from scrm.sharding import HomeUnavailableError
from scrm.sharding.inspection import DatabaseState, inspect

OLDEST_POSTGRES = 15
# What scrm.embedded makes: data-<digest>/postgres.
EMBEDDED_FOLDER = re.compile(r"/data-[0-9a-f]{8}/postgres$")
VARIABLE = {True: "DATABASE_URL", False: "DEPARTMENT_DATABASES"}


def find_troubles() -> Iterator[Finding]:
    """Look into every database, without counting rows."""
    found = inspect(count=False)
    for state in (found.control, *found.homes):
        yield from _of_state(state)
        if state.is_reachable:
            yield from _of_server(state)
    for home in found.unknown_homes:
        yield Finding(
            f"Home {home} is registered, but this process has no database for it: its customers answer 503.",
            "Add it to DEPARTMENT_DATABASES of every process, and restart them one after the other.",
        )
    is_known = found.control.is_reachable and not found.control.pending
    if is_known and found.homes and not any(state.is_open for state in found.homes):
        yield Finding("No home is open: nobody can be created.", "Open one: `manage.py shards open N`.")


def _of_state(state: DatabaseState) -> Iterator[Finding]:
    if not state.is_reachable:
        variable = VARIABLE[state.alias == "default"]
        yield Finding(
            f"{state.alias} cannot be reached at {state.server}: {state.error}",
            f"Start that server, let this machine reach it, or correct {variable}.",
        )
        return
    for problem in state.problems:
        yield Finding(f"{state.alias} {problem}.")
    for remark in state.remarks:
        yield Finding(f"{state.alias} {remark}.", is_problem=False)


def _of_server(state: DatabaseState) -> Iterator[Finding]:
    try:
        values = read_settings(state.alias, ("fsync", "full_page_writes", "data_directory", "server_version_num"))
    except (DatabaseError, HomeUnavailableError):
        return  # gone since we looked
    if int(values["server_version_num"]) < OLDEST_POSTGRES * 10_000:
        yield Finding(f"{state.alias} runs on PostgreSQL older than {OLDEST_POSTGRES}.", "Upgrade that server.")
    if EMBEDDED_FOLDER.search(values.get("data_directory", "")) and not settings.DEBUG:
        yield Finding(
            f"{state.alias} is on an embedded server, with DEBUG off: those are for demo and tests.",
            f"Name a server of your own in {VARIABLE[state.alias == 'default']}.",
        )
    for name in ("fsync", "full_page_writes"):
        if values[name] == "off":
            yield Finding(
                f"{state.alias} has {name} off: a crash of its machine may lose or damage everything.",
                f"Set {name} = on, unless this is a test.",
                is_problem=not settings.DEBUG,
            )


def read_settings(alias: str, names: tuple[str, ...]) -> dict[str, str]:
    """Return the server's settings of these names; those that this role may not see are left out."""
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY (%s)", [list(names)])
        return dict(cursor.fetchall())
