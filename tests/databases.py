"""Make the test databases, and empty them between tests that really commit.

The migrations take seconds on three databases. On embedded servers a migrated set is kept as templates, named after a
digest of everything that shapes them, and a later run copies it.

Django's flush truncates every table: over three databases with two hundred partitions that is slower than most tests,
and it takes what the migrations seeded. Here only tables that hold anything are emptied, and the seeds are put back.

Whatever the databases hold can be kept like the seeds: in a schema beside the tables, from which it comes back in tens
of milliseconds. Tests that begin with the same company, or the same night, make it once; see the fixture kept_state.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import psycopg
from django.apps import apps
from django.conf import settings
from django.db import connections
from django.test.utils import setup_databases
from django.utils import timezone

T = TypeVar("T")

CHECKOUT = Path(__file__).resolve().parent.parent
_sessions: dict[str, psycopg.Connection[Any]] = {}  # by URL: connecting anew takes as long as emptying
# What a migrated database depends on, besides the migrations: change it and the templates are made anew.
SHAPED_BY = [
    "*/migrations/*.py",
    "scrm/*/migrations/*.py",
    "scrm/sharding/backend/*.py",
    "scrm/sharding/fields.py",
    "scrm/sharding/operations.py",
    "scrm/settings.py",
    "requirements-dev.lock",
    "tests/databases.py",
]

# Written by migrations only, and many rows: never emptied.
KEPT = ["django_migrations", "django_content_type", "auth_permission"]
# Above this size TRUNCATE is quicker than DELETE.
BIG_BYTES = 4 * 1024 * 1024
SEEDS = "seeds"

KEEP = """
DO $$
DECLARE name text; is_filled boolean;
BEGIN
    EXECUTE format('CREATE SCHEMA %%I', %(schema)s);
    FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
            AND relname <> ALL (%(kept)s) AND pg_relation_size(oid) > 0 LOOP
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM public.%%I)', name) INTO is_filled;
        IF is_filled THEN
            EXECUTE format('CREATE TABLE %%I.%%I AS TABLE public.%%I', %(schema)s, name, name);
        END IF;
    END LOOP;
END $$
"""

# Customers come first: their rows take those of the other partitioned tables along. Django's own keys are deferred.
# Sequences go on, so that what comes back has numbers of its own.
RESET = """
DO $$
DECLARE name text;
BEGIN
    SET LOCAL lock_timeout = '20s';
    FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
            AND relname <> ALL (%(kept)s) AND pg_relation_size(oid) > %(big)s LOOP
        EXECUTE format('TRUNCATE public.%%I CASCADE', name);
    END LOOP;
    FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
            AND relname <> ALL (%(kept)s) AND pg_relation_size(oid) > 0
            ORDER BY relname !~ '^customers_[0-9]$' LOOP
        EXECUTE format('DELETE FROM public.%%I', name);
    END LOOP;
    FOR name IN SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
            WHERE nspname = %(schema)s AND relkind = 'r' ORDER BY relname !~ '^customers_[0-9]$' LOOP
        EXECUTE format('INSERT INTO public.%%I SELECT * FROM %%I.%%I', name, %(schema)s, name);
    END LOOP;
END $$
"""


def make_test_databases(*, keeps_templates: bool) -> None:
    """Make this worker's test databases, migrated and with both homes open, and point every alias at its own.

    keeps_templates: copy a set that was migrated before, and keep a new one for later runs.
    """
    with (Path(os.environ["SCRM_TEST_DIR"]) / "templates").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # one worker migrates, the others copy
        _make_test_databases(keeps_templates=keeps_templates)


def _make_test_databases(*, keeps_templates: bool) -> None:
    names = {alias: connections[alias].creation._get_test_db_name() for alias in connections}
    templates = {alias: f"template_{alias}_{_shape()}" for alias in connections}
    if keeps_templates and all(name in _list_templates(alias) for alias, name in templates.items()):
        for alias, name in names.items():
            connections[alias].close()
            _run_as_admin(alias, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            _run_as_admin(alias, f'CREATE DATABASE "{name}" TEMPLATE "{templates[alias]}" STRATEGY file_copy')
            settings.DATABASES[alias]["NAME"] = connections.settings[alias]["NAME"] = name
        return
    setup_databases(verbosity=0, interactive=False)
    _open_all_homes()
    for alias in connections:
        remember_seeds(alias)
    if keeps_templates:
        connections.close_all()
        _close_sessions()
        for alias, name in names.items():
            for old in _list_templates(alias):
                _run_as_admin(alias, f'DROP DATABASE "{old}"')
            _run_as_admin(alias, f'CREATE DATABASE "{templates[alias]}" TEMPLATE "{name}" STRATEGY file_copy')


def drop_test_databases() -> None:
    """Drop this worker's test databases, whoever is still connected: a killed test's child may be."""
    connections.close_all()
    _close_sessions()
    for alias in connections:
        _run_as_admin(alias, f'DROP DATABASE IF EXISTS "{connections.settings[alias]["NAME"]}" WITH (FORCE)')


def _open_all_homes() -> None:
    """Register and open the department databases, as `migrate_shards` and `shards open` do."""
    for alias in connections:
        if alias != "default":
            apps.get_model("sharding", "Home").objects.get_or_create(
                home=int(alias.removeprefix("dept_")), defaults={"is_open": True, "opened_at": timezone.now()}
            )


def remember_seeds(alias: str) -> None:
    """Keep a copy of what a freshly migrated database holds, for reset_databases to put back."""
    run(alias, KEEP, schema=SEEDS)


def reset_databases() -> None:
    """Bring all test databases back to what they were after their migrations, committed. A few milliseconds each."""
    for alias in connections:
        run(alias, RESET, schema=SEEDS)


class KeptStates:
    """What the test databases of this process held at some moments, each under a name of its own."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, ...], tuple[str, Any]] = {}

    def get(self, name: str, make: Callable[[], T]) -> T:
        """Bring the databases to what they are after make(), which is called the first time only.

        Returns what make() returned then: the same object each time, so nothing that a test may change. make: puts
        everything into the databases and commits it; they are as it finds them. Caches are the caller's to empty.
        """
        key = (name, *map(url_of, connections))  # fragile_department is another database under the same alias
        if key in self._made:
            schema, made = self._made[key]
            for alias in connections:
                run(alias, RESET, schema=schema)
            return made
        made = make()
        schema = f"kept_{len(self._made)}"
        for alias in connections:
            run(alias, KEEP, schema=schema)
        self._made[key] = (schema, made)
        return made


def run(alias: str, statement: str, *, schema: str = SEEDS) -> None:
    """Run a statement on a session that no test's transaction or read-only session touches, and no test closes."""
    parameters = {"kept": "{" + ",".join(KEPT) + "}", "big": BIG_BYTES, "schema": schema}
    url = url_of(alias)
    for is_last in (False, True):
        session = _sessions.get(url)
        if session is None or session.closed:
            session = _sessions[url] = psycopg.connect(url, autocommit=True, connect_timeout=10)
        try:
            # A DO block takes no parameters from the server's side.
            psycopg.ClientCursor(session).execute(statement, parameters)
            return
        except psycopg.OperationalError:
            # Its server has been restarted since, or a test has ended every session.
            if is_last or not session.closed:
                raise


def _close_sessions() -> None:
    while _sessions:
        _sessions.popitem()[1].close()


def _shape() -> str:
    digest = hashlib.sha256()
    for path in sorted(path for pattern in SHAPED_BY for path in CHECKOUT.glob(pattern)):
        digest.update(str(path).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _list_templates(alias: str) -> list[str]:
    with psycopg.connect(url_of(alias, database="postgres")) as connection:
        rows = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", [f"template_{alias}_%"])
        return [name for (name,) in rows]


def _run_as_admin(alias: str, statement: str) -> None:
    with psycopg.connect(url_of(alias, database="postgres"), autocommit=True) as connection:
        connection.execute(statement)


def url_of(alias: str, *, database: str = "") -> str:
    """Return the URL of a database as this process now uses it (in tests, the test database), or of one beside it."""
    entry: dict[str, Any] = connections.settings[alias]
    user, password = quote(entry["USER"], safe=""), quote(entry["PASSWORD"], safe="")
    return f"postgres://{user}:{password}@{entry['HOST']}:{entry['PORT'] or 5432}/{database or entry['NAME']}"


def department_databases() -> str:
    """Return DEPARTMENT_DATABASES for a process that shall use the test databases."""
    return ",".join(
        f"{alias.removeprefix('dept_')}={url_of(alias)}" for alias in settings.DATABASES if alias != "default"
    )
