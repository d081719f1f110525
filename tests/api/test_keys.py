"""Keys in the database and over HTTP: making, asking, scopes, revoking, and what that costs."""

import io
import time
from datetime import date
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from scrm.api import keys
from scrm.api.keys import (
    DuplicateKeyNameError,
    InvalidKeyDataError,
    KeyHolder,
    authenticate,
    create_key,
    record_uses,
    revoke_key,
)
from scrm.api.models import ApiKey
from scrm.api.problems import InvalidKeyError, MissingScopeError, NotAuthenticatedError
from scrm.api.scopes import DEFAULT_SCOPES

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.api.urls")]


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no request had been answered yet."""
    monkeypatch.setattr(keys, "ring", keys.KeyRing(keys._read_holders))
    monkeypatch.setattr(keys, "_uses", keys._Uses())


def client(token: str) -> Client:
    return Client(headers={"Authorization": f"Bearer {token}"})


# ---- making ----------------------------------------------------------------------------------------------------------
def test_only_a_digest_of_a_key_is_stored() -> None:
    token = create_key("shop")
    key = ApiKey.objects.get()
    assert token.startswith("scrm_")
    assert len(token) >= 48
    assert (key.name, key.prefix, key.revoked_at, key.last_used_on) == ("shop", token[:12], None, None)
    assert sorted(key.scopes) == sorted(DEFAULT_SCOPES)
    assert key.department_ids == []
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(k)::text FROM api_apikey k")
        assert token[12:] not in cursor.fetchone()[0]
    assert key.matches(token)
    assert not key.matches(token + "x")
    assert create_key("erp") != token


def test_a_name_is_given_once() -> None:
    create_key("shop")
    with pytest.raises(DuplicateKeyNameError, match="a key named 'shop' already"):
        create_key("shop")
    revoke_key("shop")
    with pytest.raises(DuplicateKeyNameError):
        create_key("shop")
    assert ApiKey.objects.count() == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": " shop"},
        {"name": "x" * 65},
        {"name": "a\0b"},
        {"scopes": ["customers:fly"]},
        {"scopes": []},
        {"department_ids": [0]},
        {"department_ids": [2**32]},
    ],
)
def test_keys_that_nobody_can_have(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidKeyDataError):
        create_key(**{"name": "shop", **wrong})
    assert not ApiKey.objects.exists()


# ---- asking ----------------------------------------------------------------------------------------------------------
def test_a_key_tells_who_asks() -> None:
    token = create_key("shop", scopes=["customers:read"], department_ids=[3, 2])
    expected = KeyHolder("shop", frozenset({"customers:read"}), (2, 3))
    for header in (f"Bearer {token}", f"bearer {token}", f" BEARER   {token} "):
        assert authenticate(header) == expected
    expected.require("customers:read")
    with pytest.raises(MissingScopeError):
        expected.require("pii:read")


@pytest.mark.parametrize("header", [None, ""])
def test_no_key(header: str | None) -> None:
    with pytest.raises(NotAuthenticatedError):
        authenticate(header)


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Basic YTpi", "Bearer a b", "Bearer " + "x" * 201, "Bearer 钥匙", "Bearer x\0", "scrm_abc",
     "Bearer x"],
)  # fmt: skip
def test_no_good_key(header: str) -> None:
    create_key("shop")
    with pytest.raises(InvalidKeyError):
        authenticate(header)


def test_nonsense_is_refused_without_a_query(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0), pytest.raises(InvalidKeyError):
        authenticate("Bearer " + "x" * 5_000)


def test_a_revoked_key_is_refused() -> None:
    token = create_key("shop")
    assert authenticate(f"Bearer {token}").name == "shop"
    assert revoke_key("shop")
    with pytest.raises(InvalidKeyError):
        authenticate(f"Bearer {token}")
    assert not revoke_key("shop")
    assert not revoke_key("nobody")


# ---- over HTTP -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", ["/api/things/", "/api/plain/"])
def test_who_may_not_come_in(path: str) -> None:
    response = Client().get(path)
    assert (response.status_code, response.json()["code"]) == (401, "not_authenticated")
    assert response["WWW-Authenticate"] == 'Bearer realm="scrm"'

    response = client("scrm_nobodys").get(path)
    assert (response.status_code, response.json()["code"]) == (401, "invalid_key")
    assert response["WWW-Authenticate"] == 'Bearer realm="scrm", error="invalid_token"'

    response = client(create_key("writer", scopes=["customers:write"])).get(path)
    assert (response.status_code, response.json()["code"]) == (403, "missing_scope")
    assert response.json()["scope"] == "customers:read"
    assert response["WWW-Authenticate"] == 'Bearer realm="scrm", error="insufficient_scope", scope="customers:read"'


def test_each_method_asks_for_its_scope() -> None:
    reader = client(create_key("reader", scopes=["customers:read"], department_ids=[7]))
    assert reader.get("/api/things/").json() == {"key": "reader", "departments": [7]}
    assert reader.head("/api/things/").status_code == 200
    assert reader.options("/api/things/").status_code == 200
    assert (
        reader.post("/api/things/", {"name": "a"}, content_type="application/json").json()["scope"] == "customers:write"
    )
    assert reader.delete("/api/things/").status_code == 405
    assert reader.get("/api/one-scope/").json()["scope"] == "pii:read"
    assert Client().options("/api/things/").status_code == 401


def test_open_views_ask_nobody_but_take_no_bad_key() -> None:
    assert Client().get("/api/open/").json() == {"auth": None}
    assert client("scrm_nobodys").get("/api/open/").status_code == 401


@pytest.mark.parametrize("path", ["/api/things/", "/api/plain/"])
def test_a_held_key_costs_no_query(path: str, django_assert_num_queries: Any) -> None:
    shop = client(create_key("shop"))
    with django_assert_num_queries(2):  # the ring, and after the answer the day of use
        assert shop.get(path).status_code == 200
    for _ in range(3):
        with django_assert_num_queries(0):
            assert shop.get(path).status_code == 200


# ---- the day of use --------------------------------------------------------------------------------------------------
def test_the_day_of_use_is_written_once_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_uses", keys._Uses(clock=time.time))
    header = f"Bearer {create_key('shop')}"
    create_key("erp")
    with time_machine.travel("2026-03-01T10:00:00+08:00", tick=False) as clock:
        for _ in range(3):
            authenticate(header)
            record_uses()
        assert _days() == {"shop": date(2026, 3, 1), "erp": None}

        clock.move_to("2026-03-01T12:00:00+08:00")
        authenticate(header)
        with CaptureQueriesContext(connection) as queries:
            record_uses()
        assert len(queries) == 1  # which changes nothing
        assert _days()["shop"] == date(2026, 3, 1)

        clock.move_to("2026-03-02T00:30:00+08:00")
        authenticate(header)
        record_uses()
        assert _days()["shop"] == date(2026, 3, 2)


def _days() -> dict[str, date | None]:
    return dict(ApiKey.objects.values_list("name", "last_used_on"))


# ---- commands --------------------------------------------------------------------------------------------------------
def run(*arguments: str) -> list[str]:
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue().splitlines()


def test_create_api_key_prints_the_key_last() -> None:
    lines = run("create_api_key", "shop")
    assert authenticate(f"Bearer {lines[-1]}") == KeyHolder("shop", frozenset(DEFAULT_SCOPES), ())
    assert sum(lines[-1] in line for line in lines) == 1

    lines = run("create_api_key", "erp", "--scope", "customers:read", "--scope=pii:read", "--department", "2")
    expected = KeyHolder("erp", frozenset({"customers:read", "pii:read"}), (2,))
    assert authenticate(f"Bearer {lines[-1]}") == expected


def test_create_api_key_says_what_is_wrong() -> None:
    run("create_api_key", "shop")
    with pytest.raises(CommandError, match="a key named 'shop' already"):
        run("create_api_key", "shop")
    with pytest.raises(CommandError, match="invalid choice: 'fly'"):
        run("create_api_key", "erp", "--scope", "fly")
    with pytest.raises(CommandError, match="from 1 to 4294967295"):
        run("create_api_key", "erp", "--department", "0")


def test_revoke_api_key() -> None:
    token = run("create_api_key", "shop")[-1]
    assert run("revoke_api_key", "shop") == ["Key shop is revoked; every process refuses it within 30 s."]
    with pytest.raises(InvalidKeyError):
        authenticate(f"Bearer {token}")
    with pytest.raises(CommandError, match="no live key named 'shop'"):
        run("revoke_api_key", "shop")
