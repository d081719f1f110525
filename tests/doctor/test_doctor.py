import io
import json
import time

import pytest
from django.core.management import call_command
from django.db import connections

from scrm import doctor
from scrm.doctor import clocks, connection_sums, databases, findings, processes, redis_servers
from scrm.doctor.examination import examine
from scrm.management.commands import demo
from scrm.sharding.backend import base
from scrm.sharding.models import Home
from tests.databases import CHECKOUT, run

NEWEST = max(CHECKOUT.glob("profiles/migrations/0*.py")).stem


@pytest.fixture(autouse=True)
def _nothing_is_believed_to_be_down(clean_databases):
    base._unreachable_until.clear()
    yield
    base._unreachable_until.clear()


def run_doctor():
    out = io.StringIO()
    try:
        call_command("doctor", stdout=out)
    except SystemExit as end:
        return end.code, out.getvalue()
    return 0, out.getvalue()


def troubles(found):
    return [finding.trouble for finding in found]


def problems(found):
    return [finding.trouble for finding in found if finding.is_problem]


# ------------------------------------------------------------------------------------------------------------- command
def test_an_installation_in_order_passes(monkeypatch, settings, tmp_path):
    monkeypatch.setenv("GRANIAN_BLOCKING_THREADS", "4")
    settings.DEBUG = True  # embedded servers are right for that
    settings.KEEPER_HEARTBEAT_FILE = tmp_path / "beat.json"
    code, output = run_doctor()
    assert code == 0, output
    assert "\n0 problems, " in output
    for subject in ("settings", "cache", "broker", "clocks", "connections"):
        assert f"ok       {subject}" in output


def test_what_is_wrong_is_said_in_words_with_a_remedy_and_an_exit_code(settings, fragile_department):
    settings.REDIS_URL = "redis://:sesame@127.0.0.1:1/0"
    fragile_department.stop()
    code, output = run_doctor()
    assert code == 1
    assert f"dept_101 cannot be reached at 127.0.0.1:{fragile_department.port}/dept_101" in output
    assert "Connection refused" in output
    assert "Start that server, let this machine reach it, or correct DEPARTMENT_DATABASES." in output
    assert "The cache at 127.0.0.1:1 does not answer" in output
    assert "sesame" not in output
    assert connections.settings["dept_101"]["PASSWORD"] not in output


def test_without_the_control_database_the_rest_is_still_looked_at(monkeypatch):
    connections["default"].close()
    with monkeypatch.context() as patch:
        patch.setitem(connections.settings["default"], "PORT", "1")
        code, output = run_doctor()
    assert code == 1
    assert "default cannot be reached at 127.0.0.1:1/" in output
    assert "correct DATABASE_URL" in output
    assert "ok       broker" in output


def test_apps_add_their_own_and_one_that_fails_stops_no_other(monkeypatch):
    monkeypatch.setattr(findings, "_looks", {})
    doctor.register("broken", lambda: 1 / 0)
    doctor.register("wecom", lambda: [doctor.Finding("wrong secret [40001].", "Correct WXWORK_SECRET.")])
    found = dict(examine())
    assert "ZeroDivisionError" in found["broken"][0].trouble
    assert found["wecom"] == [doctor.Finding("wrong secret [40001].", "Correct WXWORK_SECRET.")]
    assert "wecom: wrong secret [40001]." in run_doctor()[1]
    with pytest.raises(ValueError, match="wecom"):
        doctor.register("wecom", list)


# ----------------------------------------------------------------------------------------------------------- databases
def test_unmigrated_unopened_and_unknown_homes():
    run("dept_101", f"DELETE FROM django_migrations WHERE app = 'profiles' AND name = '{NEWEST}'")
    Home.objects.all().delete()
    Home.objects.create(home=555)
    try:
        found = problems(databases.find_troubles())
    finally:
        run("dept_101", f"INSERT INTO django_migrations (app, name, applied) VALUES ('profiles', '{NEWEST}', now())")
    assert any(one.startswith("dept_101") and "not applied: run `manage.py migrate_shards`" in one for one in found)
    assert "Home 555 is registered, but this process has no database for it: its customers answer 503." in found
    assert "No home is open: nobody can be created." in found


def test_embedded_servers_are_for_demo_and_tests(settings):
    settings.DEBUG = True
    assert problems(databases.find_troubles()) == []
    settings.DEBUG = False
    found = problems(databases.find_troubles())
    is_embedded = connections.settings["default"]["USER"] == "scrm"
    assert ("default is on an embedded server, with DEBUG off: those are for demo and tests." in found) == is_embedded
    assert any("fsync off" in one for one in found) == is_embedded


def test_another_zone_than_the_stored_one(settings):
    settings.TIME_ZONE = "Europe/Berlin"
    found = dict(examine())["databases"]
    assert any(one.startswith("default profiles.E002: TIME_ZONE is Europe/Berlin") for one in problems(found))


# ----------------------------------------------------------------------------------------------------- cache and broker
def test_a_cache_that_persists_and_a_broker_that_evicts(settings, valkey_server):
    settings.REDIS_URL = valkey_server(keeps=True).url
    settings.CELERY_BROKER_URL = valkey_server().url
    [cache] = redis_servers.find_cache_troubles()
    assert cache.trouble.startswith("The cache is not fit to be one: it keeps a log")
    [evicts, forgets] = redis_servers.find_broker_troubles()
    assert evicts.trouble == "The broker throws tasks away when it is full (maxmemory-policy allkeys-lru)."
    assert (evicts.is_problem, forgets.is_problem) == (True, False)


def test_a_broker_of_another_kind_is_not_looked_at(settings):
    settings.CELERY_BROKER_URL = "amqp://guest:sesame@rabbit/"
    [finding] = redis_servers.find_broker_troubles()
    assert (finding.trouble, finding.is_problem) == ("The broker is no Redis (amqp): not looked at.", False)


# --------------------------------------------------------------------------------------------------------------- clocks
def test_clocks_that_agree():
    assert list(clocks.find_troubles()) == []


@pytest.mark.parametrize(("seconds", "words"), [(90, "90.0 s ahead of"), (-3600, "3600.0 s behind")])
def test_clocks_that_differ(monkeypatch, seconds, words):
    monkeypatch.setattr(clocks, "_clocks", lambda: {"dept_100": lambda: time.time() + seconds})
    [finding] = clocks.find_troubles()
    assert finding.trouble == f"The clock of dept_100 is {words} this machine's."


def test_the_way_there_and_back_is_not_taken_for_a_difference():
    def slow():
        time.sleep(0.3)
        now = time.time()
        time.sleep(0.3)
        return now

    assert abs(clocks.measure(slow)) < 0.2


# ---------------------------------------------------------------------------------------------------------- connections
def test_connections_are_added_up_server_by_server():
    web = connection_sums.Process("web", 2, 4)
    beat = connection_sums.Process("beat", 1, 1, fans_out=False, asks_departments=False)
    everything = ["default", "dept_100", "dept_101"]
    assert connection_sums.may_open(web, everything, 4) == 2 * (4 * 3 + 4 + 4)
    assert connection_sums.may_open(web, ["default"], 4) == 2 * (4 + 4)
    assert connection_sums.may_open(web, ["dept_100"], 4) == 2 * (4 + 4)
    assert connection_sums.may_open(beat, everything, 4) == 1
    assert connection_sums.may_open(beat, ["dept_100"], 4) == 0


def test_granians_own_default_is_known():
    assert connection_sums.our_processes({"WEB_WORKERS": "2"})[0].threads == 256
    assert connection_sums.our_processes({"WEB_WORKERS": "2", "GRANIAN_BLOCKING_THREADS": "4"})[0].threads == 4


def test_the_demo_is_added_up_as_the_demo_is_started(monkeypatch, settings):
    command = demo.commands(8000)["web"]
    for flag, name in (("--workers", "WEB_WORKERS"), ("--blocking-threads", "GRANIAN_BLOCKING_THREADS")):
        monkeypatch.delenv(name, raising=False)
        assert connection_sums.OF_THE_DEMO[name] == command[command.index(flag) + 1]
    settings.DEBUG = True
    assert list(connection_sums.find_troubles()) == []
    settings.DEBUG = False  # nobody says how many threads granian makes, so it is granian who says
    assert "256 threads" in next(connection_sums.find_troubles()).trouble


def test_more_connections_than_the_server_allows(monkeypatch):
    monkeypatch.setenv("WEB_WORKERS", "4")
    monkeypatch.setenv("GRANIAN_BLOCKING_THREADS", "4")
    assert list(connection_sums.find_troubles()) == []
    monkeypatch.setenv("GRANIAN_BLOCKING_THREADS", "64")
    [finding] = connection_sums.find_troubles()
    assert "(default, dept_100, dept_101) leaves us 297 connections" in finding.trouble
    assert "4 web × 64 threads" in finding.trouble
    assert "GRANIAN_BLOCKING_THREADS" in finding.remedy


# ------------------------------------------------------------------------------------------------------------ processes
def test_the_keeper_and_the_workers(settings, tmp_path):
    settings.KEEPER_HEARTBEAT_FILE = tmp_path / "beat.json"
    found = list(processes.find_troubles())
    assert [finding.is_problem for finding in found] == [False, False]
    assert "there is no heartbeat" in found[0].trouble
    assert "No worker answered" in found[1].trouble
    chore = {"every_seconds": 2, "running_since": None, "succeeded_at": None, "error": "ZeroDivisionError"}
    beat = {"at": "2020-01-01T00:00:00+00:00", "pid": 7, "chores": {"settle": chore}}
    settings.KEEPER_HEARTBEAT_FILE.write_text(json.dumps(beat))
    silent, fails, _ = processes.find_troubles()
    assert "The keeper (process 7) has been silent" in silent.trouble
    assert "The chore settle fails with ZeroDivisionError" in fails.trouble
    assert fails.is_problem
