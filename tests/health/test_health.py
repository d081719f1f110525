import time

import pytest
from django.db import connections

from scrm import health
from scrm.api.keys import record_uses
from scrm.sharding.backend import base


@pytest.fixture(autouse=True)
def _nothing_is_believed_to_be_down(clean_databases):
    base._unreachable_until.clear()
    yield
    base._unreachable_until.clear()


def readyz(client):
    answer = client.get("/readyz")
    return answer.status_code, answer.json()


def test_healthz_asks_nobody(client, django_assert_num_queries):
    record_uses()  # what a test before this one left: a key that was used without a request that ended
    with django_assert_num_queries(0):
        answer = client.get("/healthz")
    assert (answer.status_code, answer.content) == (200, b"ok\n")
    assert "no-store" in answer["Cache-Control"]
    assert client.post("/healthz").status_code == 405


def test_ready(client):
    assert readyz(client) == (200, {"status": "ready", "down": [], "warnings": []})


def test_one_department_down_is_named_and_the_rest_serves(client, fragile_department):
    fragile_department.stop()
    assert readyz(client) == (200, {"status": "degraded", "down": ["dept_101"], "warnings": []})
    fragile_department.start()
    base._unreachable_until.clear()
    assert readyz(client)[1]["status"] == "ready"


def test_a_frozen_department_is_named_in_bounded_time_and_holds_one_thread(client, fragile_department):
    fragile_department.pause()
    began = time.monotonic()
    assert readyz(client)[1]["down"] == ["dept_101"]
    assert time.monotonic() - began < health.WAIT_SECONDS + 1


@pytest.mark.parametrize("aliases", [["default"], ["dept_100", "dept_101"]])
def test_without_the_control_database_or_any_department_it_is_not_ready(client, monkeypatch, aliases):
    with monkeypatch.context() as patch:
        for alias in aliases:
            patch.setitem(connections.settings[alias], "PORT", "1")
        assert readyz(client) == (503, {"status": "unavailable", "down": aliases, "warnings": []})


def test_without_cache_and_broker_it_serves_more_slowly(client, settings):
    settings.REDIS_URL = settings.CELERY_BROKER_URL = "redis://127.0.0.1:1/0"
    assert readyz(client) == (200, {"status": "degraded", "down": ["cache", "broker"], "warnings": []})


def test_a_cache_that_persists_is_complained_of(client, settings, valkey_server):
    settings.REDIS_URL = valkey_server(keeps=True).url
    code, body = readyz(client)
    assert (code, body["status"], body["down"]) == (200, "ready", [])
    assert "cache: it keeps a log and comes back with old values" in body["warnings"][0]


def test_the_answer_gives_no_address_and_no_password_away(client, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(connections.settings["dept_101"], "PORT", "1")
        text = client.get("/readyz").content.decode()
    assert "127.0.0.1" not in text
    assert connections.settings["dept_101"]["PASSWORD"] not in text


def test_a_server_that_hangs_gets_one_thread_not_one_for_each_question(client, monkeypatch):
    asked = []

    def hang():
        asked.append(1)
        time.sleep(1.5)

    monkeypatch.setattr(health, "WAIT_SECONDS", 0.2)
    monkeypatch.setattr(health, "_questions", lambda: {"default": lambda: None, "dept_100": hang})
    for _ in range(3):
        probes = health.ask_all()
        assert (probes["default"].is_up, probes["dept_100"].is_up) == (True, False)
    assert asked == [1]


def test_metrics_are_there_for_prometheus(client):
    client.get("/readyz")
    answer = client.get("/metrics")
    assert answer.status_code == 200
    text = answer.content.decode()
    assert 'scrm_server_up{server="dept_101"} 1.0' in text
    for alias in ("default", "dept_100"):
        assert f'django_db_execute_total{{alias="{alias}",vendor="postgresql"}}' in text
    assert "scrm_cache_reads" in text
