import io
import json
import os
import subprocess
import sys

import psycopg
import pytest
from django.core.management import call_command
from django.db import connections

from customers.models import CustomerAlias, DirectoryEntry
from scrm import sharding
from scrm.sharding import inspection, migrating
from scrm.sharding.homes import register
from scrm.sharding.models import Home
from tests.conftest import CHECKOUT
from tests.databases import run, url_of
from tests.sharding.people import add_customers


def migrate_shards(*arguments):
    """Run the command here. Returns (exit code, output)."""
    out = io.StringIO()
    try:
        call_command("migrate_shards", *arguments, stdout=out, stderr=out)
    except SystemExit as end:
        return end.code, out.getvalue()
    return 0, out.getvalue()


def last_number(home):
    with sharding.cursor(home) as cursor:
        cursor.execute("SELECT last_value FROM customer_ids")
        return cursor.fetchone()[0]


# ------------------------------------------------------------------------------------------------- on empty databases
class Installation:
    """Empty databases on the private PostgreSQL, and processes that migrate them."""

    def __init__(self, server):
        self.server = server
        self.names = {"default": "migrating_scrm"} | {home: f"migrating_{home}" for home in (100, 101, 102)}
        with psycopg.connect(server.url("scrm"), autocommit=True) as connection:
            for name in self.names.values():
                connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
                connection.execute(f"CREATE DATABASE {name}")

    def start(self, command, *homes, missing=()):
        urls = {home: self.server.url(self.names[home]) for home in homes}
        urls |= {home: self.server.url("not_there") for home in missing}
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        environ["DATABASE_URL"] = self.server.url(self.names["default"])
        environ["DEPARTMENT_DATABASES"] = ",".join(f"{home}={url}" for home, url in urls.items())
        return subprocess.Popen(
            [sys.executable, "manage.py", *command.split()],
            cwd=CHECKOUT,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command, *homes, missing=()):
        process = self.start(command, *homes, missing=missing)
        output = process.communicate(timeout=200)[0]
        return process.returncode, output


@pytest.mark.slow
def test_from_nothing_by_two_at_once_and_then_with_a_home_more(postgres_server):
    installation = Installation(postgres_server)
    both = [installation.start("migrate_shards", 100, 101) for _ in range(2)]
    outputs = [process.communicate(timeout=250)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    for name in ("default", "dept_100", "dept_101"):
        summaries = sorted(
            line
            for output in outputs
            for line in output.splitlines()
            if line.startswith(f"{name}: a") and "applies" not in line
        )
        assert summaries[0].startswith(f"{name}: already up to date")
        assert summaries[1].startswith(f"{name}: applied ")
    assert sum("registered and opened" in line for output in outputs for line in output.splitlines()) == 2

    code, output = installation.run("migrate_shards", 100, 101, 102, missing=[103])
    assert code == 1
    assert "dept_100: already up to date" in output
    assert "dept_102: applied" in output
    assert "dept_102: registered; `shards open 102` opens it" in output
    assert 'dept_103: error: connection to server at "127.0.0.1"' in output
    assert 'database "not_there" does not exist' in output
    assert "1 of 5 databases failed" in output

    code, output = installation.run("shards --json", 100, 101, 102)
    assert code == 0, output
    homes = json.loads(output)["homes"]
    assert {home["home"]: (home["is_open"], home["problems"]) for home in homes} == {
        100: (True, []),
        101: (True, []),
        102: (False, []),
    }


# ------------------------------------------------------------------------------------------------ on migrated databases
def test_it_may_be_repeated_and_reports_each_database(clean_databases):
    register([100, 101])
    add_customers(100, 12)
    code, output = migrate_shards()
    assert code == 0, output
    for name in ("default", "dept_100", "dept_101"):
        assert f"{name}: already up to date" in output
    [counts] = [line for line in output.splitlines() if line.startswith("│  100 │") and "/" not in line]
    cells = [cell.strip() for cell in counts.strip("│").split("│")]
    assert sum(map(int, cells[1:11])) == int(cells[11]) == 12
    assert "the tables have more customers, by 12" in output


def test_one_that_fails_does_not_stop_the_others(clean_databases, monkeypatch):
    def fail(self, *args, **options):
        if options["database"] == "dept_100":
            raise ZeroDivisionError("a data migration went wrong")
        return handle(self, *args, **options)

    handle = migrating.MigrateCommand.handle
    monkeypatch.setattr(migrating.MigrateCommand, "handle", fail)
    code, output = migrate_shards("--no-count")
    assert code == 1
    assert "dept_100: error: ZeroDivisionError: a data migration went wrong" in output
    assert "manage.py migrate --database=dept_100" in output
    assert "default: already up to date" in output
    assert "dept_101: already up to date" in output


def test_the_first_homes_are_opened_and_later_ones_wait(clean_databases):
    Home.objects.all().delete()
    assert register([100]) == {100: True}
    assert register([100, 101]) == {101: False}
    assert register([100, 101]) == {}
    assert list(Home.objects.order_by("home").values_list("home", "is_open")) == [(100, True), (101, False)]


def test_a_damaged_database_is_a_problem(fragile_department):
    run("dept_101", "DROP TABLE notes_3")
    run("dept_101", "ALTER TABLE follows_4 DROP CONSTRAINT follows_4_customer_id_bucket_fkey")
    run("dept_101", "ALTER SEQUENCE customer_ids RENAME TO other_ids")
    try:
        code, output = migrate_shards("--no-count")
    finally:
        run("dept_101", "ALTER SEQUENCE other_ids RENAME TO customer_ids")
        run("dept_101", "CREATE TABLE notes_3 PARTITION OF notes FOR VALUES IN (3)")
        for table, bucket in (("notes", 3), ("follows", 4)):
            run(
                "dept_101",
                f"ALTER TABLE {table}_{bucket} ADD FOREIGN KEY (customer_id, bucket) "
                f"REFERENCES customers_{bucket} (customer_id, bucket) ON DELETE CASCADE",
            )
    assert code == 1
    assert "dept_101 notes has no partition for bucket 3" in output
    assert "dept_101 follows_4 has no foreign key to customers_4 that cascades" in output
    assert "dept_101 the sequence customer_ids is missing: nobody can be created" in output
    assert inspection.inspect_home(101, count=False).problems == []


def test_another_time_zone_than_the_stored_one_stops_the_deployment(clean_databases, settings):
    settings.TIME_ZONE = "Europe/Berlin"
    code, output = migrate_shards("--no-count")
    assert code == 1
    assert "problem default profiles.E002: TIME_ZONE is Europe/Berlin" in output


# ------------------------------------------------------------------------------------------------------------ sequences
def test_a_sequence_behind_its_table_is_moved_on(clean_databases):
    ids = add_customers(100, 20)
    run("dept_100", f"SELECT setval('customer_ids', {ids[3] % 10**10})")
    assert any("the sequence of customer_ids is at" in problem for problem in inspection.inspect().problems)
    code, output = migrate_shards()
    assert code == 0
    assert f"dept_100: sequence moved on from {ids[3] % 10**10}" in output
    assert sharding.allocate(100, 1) == [ids[-1] + 1]
    assert "moved on" not in migrate_shards()[1]


def test_an_id_that_only_the_directory_has_seen_is_not_given_again(clean_databases):
    """After a restore of the department's database, the directory knows more ids than the tables."""
    first = sharding.allocate(100, 1)[0]
    DirectoryEntry.objects.create(external_userid="wm1", customer_id=first + 50, state="live")
    CustomerAlias.objects.create(old_customer_id=first + 90, customer_id=1010000000001)
    assert any("has been given" in problem for problem in inspection.inspect().problems)
    migrate_shards()
    assert sharding.allocate(100, 1) == [first + 91]


def test_a_sequence_is_never_moved_back(clean_databases):
    first = sharding.allocate(101, 10)[0]
    assert migrating.catch_up_sequence(101, first % 10**10) is None
    assert last_number(101) == first % 10**10 + 9


def test_ids_taken_while_a_sequence_is_moved_on_stay_unique(clean_databases):
    ids = add_customers(100, 5)
    run("dept_100", "SELECT setval('customer_ids', 1)")
    with psycopg.connect(url_of("dept_100")) as taker:
        taken = taker.execute("SELECT nextval('customer_ids')").fetchone()[0]  # its transaction is still open
        connections["dept_100"].close()
        with psycopg.connect(url_of("dept_100")) as other:
            other.execute("SET lock_timeout = '300ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute("ALTER SEQUENCE customer_ids INCREMENT BY 1")
    assert taken == 2
    assert migrating.catch_up_sequence(100, 0) == 2
    assert sharding.allocate(100, 1) == [ids[-1] + 1]
