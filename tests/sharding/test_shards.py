import io
import json
import re

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from customers.models import DirectoryEntry
from scrm.sharding import inspection
from scrm.sharding.errors import HomeStateError
from scrm.sharding.homes import close_home, open_home
from scrm.sharding.models import Home, open_homes
from tests.databases import CHECKOUT, run
from tests.sharding.people import add_customers, insert_customers

NEWEST = max(CHECKOUT.glob("profiles/migrations/0*.py")).stem


def shards(*arguments):
    """Run the command. Returns (exit code, output)."""
    out = io.StringIO()
    try:
        call_command("shards", *arguments, stdout=out, stderr=out)
    except SystemExit as end:
        return end.code, out.getvalue()
    return 0, out.getvalue()


def state_of(home):
    [state] = [state for state in inspection.inspect().homes if state.home == home]
    return state


def live(customer_ids, state="live"):
    DirectoryEntry.objects.bulk_create(
        DirectoryEntry(external_userid=f"wm{one}", customer_id=one, state=state) for one in customer_ids
    )


@pytest.fixture(autouse=True)
def _homes(clean_databases):
    open_homes.forget()
    yield
    open_homes.forget()


def test_the_map_shows_where_each_home_is_without_its_password():
    code, output = shards()
    assert code == 0
    for alias in ("default", "dept_100", "dept_101"):
        entry = connections.settings[alias]
        assert f"{entry['HOST']}:{entry['PORT']}/{entry['NAME']}" in output
        assert entry["PASSWORD"] not in output
    assert re.search(r"│ +100 │.*│ open +│ applied", output)


def test_rows_are_counted_by_table():
    live(add_customers(100, 25))
    code, output = shards()
    assert code == 0
    state = state_of(100)
    assert (state.total, sum(state.customers.values()), sorted(state.customers)) == (25, 25, list(range(10)))
    assert max(state.customers.values()) == 3
    assert (state.directory.customers, state.drift) == (25, 0)
    assert "remark" not in output


def test_drift_is_what_directory_and_tables_do_not_agree_on():
    ids = add_customers(100, 5)
    live(ids[:2])
    assert state_of(100).drift == 3
    live(ids[2:4], state="creating")
    assert state_of(100).drift == 1
    live([ids[-1] + one for one in (10, 11, 12, 13, 14)])
    assert state_of(100).drift == -2
    _code, output = shards()
    assert "dept_100 the directory has more customers, by 2" in output


def test_json_has_it_all_and_no_password():
    live(add_customers(101, 7))
    _code, output = shards("--json")
    found = json.loads(output)
    assert found["control"]["is_reachable"]
    [first, second] = found["homes"]
    assert (first["home"], second["home"], second["total"], second["drift"]) == (100, 101, 7, 0)
    assert second["directory"] == {"customers": 7, "unsettled": 0, "max_customer_id": second["max_customer_id"]}
    assert connections.settings["dept_101"]["PASSWORD"] not in output


def test_a_home_that_is_down_is_shown_and_the_others_are_counted(fragile_department):
    add_customers(100, 3)
    fragile_department.stop()
    code, output = shards()
    assert code == 1
    assert "unreachable" in output
    assert "problem dept_101 cannot be reached" in output
    assert "Connection refused" in output
    [counts] = [line for line in output.splitlines() if line.startswith("│  100 │")]
    assert counts.split("│")[12].strip() == "3"


def test_customers_of_another_home_mean_that_databases_were_mixed_up():
    insert_customers(101, [1000000000077])
    assert any("holds customers of home 100" in problem for problem in state_of(101).problems)


def test_two_homes_on_one_database_are_found_out_whatever_its_host_is_called(monkeypatch):
    for name in ("HOST", "NAME"):
        monkeypatch.setitem(connections.settings["dept_101"], name, connections.settings["dept_100"][name])
    monkeypatch.setitem(connections.settings["dept_101"], "HOST", "localhost")
    connections["dept_101"].close()
    found = inspection.inspect(count=False)
    assert "dept_101: is the same database as that of home 100" in found.problems


def test_migrations_that_are_missing_or_unknown_are_told():
    run("dept_101", f"DELETE FROM django_migrations WHERE app = 'profiles' AND name = '{NEWEST}'")
    run("default", "INSERT INTO django_migrations (app, name, applied) VALUES ('profiles', '9999_later', now())")
    try:
        found = inspection.inspect(count=False)
    finally:
        run("dept_101", f"INSERT INTO django_migrations (app, name, applied) VALUES ('profiles', '{NEWEST}', now())")
        run("default", "DELETE FROM django_migrations WHERE name = '9999_later'")
    assert [state.pending[0] for state in found.homes if state.pending] == [f"profiles.{NEWEST}"]
    assert any("migrations are not applied: run `manage.py migrate_shards`" in problem for problem in found.problems)
    assert "profiles.9999_later" in found.control.remarks[0]


def test_other_apps_may_check_homes_too(monkeypatch):
    monkeypatch.setattr(inspection, "_checks", [lambda home: [f"{home} smells"]])
    assert inspection.inspect(count=False).problems == ["dept_100: 100 smells", "dept_101: 101 smells"]


def test_a_home_is_closed_and_opened():
    assert open_homes() == (100, 101)
    assert shards("close", "101") == (0, "Home 101 is closed: new customers go elsewhere.\n")
    assert open_homes() == (100,)
    assert shards("close", "101")[1] == "Home 101 was closed: new customers go elsewhere already.\n"
    assert "takes no new customers until `manage.py shards open 101`" in shards()[1]
    assert shards("open", "101") == (0, "Home 101 is open for new customers.\n")
    assert open_homes() == (100, 101)
    assert Home.objects.get(home=101).opened_at is not None


def test_the_last_open_home_stays_open():
    assert close_home(100)
    with pytest.raises(HomeStateError, match="nowhere to go"):
        close_home(101)
    assert open_homes() == (101,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["open", "999"], "No department database is configured for home 999"),
        (["close", "999"], "Home 999 is not registered"),
        (["open"], "Which home"),
    ],
)
def test_what_cannot_be_opened_or_closed_says_why(arguments, message):
    with pytest.raises(CommandError, match=message):
        shards(*arguments)


def test_a_home_that_was_never_migrated_is_not_opened():
    Home.objects.filter(home=101).delete()
    with pytest.raises(HomeStateError, match="migrate_shards"):
        open_home(101)


def test_a_home_that_is_down_is_not_opened(fragile_department):
    close_home(101)
    fragile_department.stop()
    with pytest.raises(CommandError, match=r"Home 101 is not ready\. dept_101 cannot be reached"):
        shards("open", "101")


def test_a_registered_home_without_a_database_here_is_told():
    Home.objects.create(home=555, is_open=True)
    assert 555 not in open_homes()
    assert "home 555 is registered, but DEPARTMENT_DATABASES does not name it here" in shards()[1]
