"""Every error under /api/ is a problem with a code, and tells nothing of our insides."""

import json
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from scrm.api.keys import create_key
from scrm.api.problems import ProblemError, UnavailableError
from tests.api.urls import SECRET

pytestmark = pytest.mark.urls("tests.api.urls")


def told(response: HttpResponse) -> dict[str, Any]:
    """The problem of an answer, once it is sure that it is one."""
    assert response["Content-Type"] == "application/problem+json"
    body = json.loads(response.content)
    assert body["status"] == response.status_code
    assert body["type"] == f"urn:scrm:problem:{body['code']}"
    assert body["title"]
    assert SECRET not in response.content.decode()
    assert "hunter2" not in str(response.headers)
    return body


@pytest.fixture
def quiet() -> Client:
    """A client that does not raise what a view raised."""
    return Client(raise_request_exception=False)


@pytest.fixture
def keyed(db: None) -> Client:
    return Client(headers={"Authorization": f"Bearer {create_key('test')}"})


@pytest.mark.parametrize("kind", ["fails", "plain-fails"])
@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("problem", 409, "version_conflict"),
        ("invalid", 400, "invalid"),
        ("home", 503, "department_unavailable"),
        ("unknown-home", 503, "department_unavailable"),
        ("no-id", 404, "not_found"),
        ("database", 503, "temporarily_unavailable"),
        ("bug", 500, "internal_error"),
        ("unroutable", 500, "internal_error"),
        ("not-found", 404, "not_found"),
        ("denied", 403, "forbidden"),
        ("too-big", 413, "too_large"),
        ("suspicious", 400, "malformed"),
        ("throttled", 429, "throttled"),
        ("validation", 400, "invalid"),
    ],
)
def test_every_failure_has_its_code(quiet: Client, kind: str, name: str, status: int, code: str) -> None:
    body = told(quiet.get(f"/api/{kind}/{name}/"))
    assert (body["status"], body["code"]) == (status, code)


@pytest.mark.parametrize("is_debug", [True, False])
def test_bugs_show_no_page_even_with_debug_on(quiet: Client, settings: Any, is_debug: bool) -> None:
    settings.DEBUG = is_debug
    assert told(quiet.get("/api/fails/bug/")) == {
        "type": "urn:scrm:problem:internal_error",
        "title": "Internal error",
        "status": 500,
        "code": "internal_error",
    }
    assert told(quiet.get("/api/plain-fails/bug/"))["code"] == "internal_error"


def test_bugs_reach_the_test_that_caused_them() -> None:
    for kind in ("fails", "plain-fails"):
        with pytest.raises(KeyError):
            Client().get(f"/api/{kind}/bug/")


def test_a_department_that_is_down_is_named(quiet: Client) -> None:
    response = quiet.get("/api/fails/home/")
    assert told(response) == {
        "type": "urn:scrm:problem:department_unavailable",
        "title": "Department unavailable",
        "status": 503,
        "code": "department_unavailable",
        "detail": "The department database dept_101 cannot be reached now.",
        "home": 101,
        "department": "dept_101",
    }
    assert response["Retry-After"] == "5"


def test_members_and_waiting(quiet: Client) -> None:
    assert told(quiet.get("/api/fails/problem/"))["version"] == 7
    assert quiet.get("/api/fails/throttled/")["Retry-After"] == "3"


def test_what_serializers_refuse_is_listed_by_field(keyed: Client) -> None:
    body = {"name": "long", "tags": [1, "x"], "items": [{"userid": "a"}, {}, {"userid": []}]}
    found = told(keyed.post("/api/things/", body, content_type="application/json"))
    assert [(error["field"], error["code"]) for error in found["errors"]] == [
        ("name", "max_length"),
        ("tags[1]", "invalid"),
        ("items[1].userid", "required"),
        ("items[2].userid", "invalid"),
    ]
    found = told(keyed.post("/api/things/", {"name": "bad"}, content_type="application/json"))
    assert found["errors"] == [{"field": "", "code": "bad", "message": "Not bad."}]
    found = told(keyed.post("/api/things/", [], content_type="application/json"))
    assert [(error["field"], error["code"]) for error in found["errors"]] == [("", "invalid")]


def test_methods_types_and_bodies(keyed: Client) -> None:
    response = keyed.delete("/api/things/")
    assert told(response)["code"] == "method_not_allowed"
    assert response["Allow"] == "GET, POST, HEAD, OPTIONS"
    assert told(keyed.get("/api/things/", headers={"Accept": "text/html"}))["code"] == "not_acceptable"
    assert told(keyed.post("/api/things/", {"name": "a"}))["code"] == "unsupported_media_type"
    for path in ("/api/things/", "/api/plain/"):
        sent = {"content_type": "application/json"}
        assert told(keyed.post(path, b"{", **sent))["code"] == "malformed"
        assert told(keyed.post(path, b'{"name": NaN}', **sent))["code"] == "malformed"
        assert told(keyed.post(path, b'"' + b"x" * 1_000 + b'"', **sent))["code"] == "too_large"
        assert told(keyed.post(path, b"{}", **sent, headers={"Content-Encoding": "br"}))["status"] == 415
    assert keyed.post("/api/things/", {"name": "a"}, content_type="application/json").json()["name"] == "a"


def test_no_such_endpoint(quiet: Client, settings: Any) -> None:
    for settings.DEBUG in (True, False):
        body = told(quiet.get("/api/nothing/here/"))
        assert (body["code"], body["detail"]) == ("not_found", "There is no such endpoint; /api/v1/schema/ lists them.")
        assert told(quiet.post("/api/nothing"))["status"] == 404
        assert told(quiet.post("/api/things"))["detail"] == "Paths end with a slash: ask for /api/things/."


def test_what_nobody_guards_is_still_a_problem_under_api(quiet: Client, settings: Any) -> None:
    settings.DEBUG = False
    assert told(quiet.get("/api/unguarded/"))["code"] == "internal_error"
    assert quiet.get("/other/unguarded/")["Content-Type"].startswith("text/html")


def test_hosts_that_are_not_ours(quiet: Client, settings: Any) -> None:
    settings.DEBUG, settings.ALLOWED_HOSTS = False, ["scrm.example"]
    assert told(quiet.get("/api/things/", headers={"Host": "evil.example"}))["code"] == "malformed"


def test_codes_are_unique() -> None:
    def kinds(root: type[ProblemError]) -> list[type[ProblemError]]:
        return [root, *(kind for child in root.__subclasses__() for kind in kinds(child))]

    # ProblemError itself and InternalError say the same.
    codes = [kind.code for kind in kinds(ProblemError)[1:] if kind.__module__ == ProblemError.__module__]
    assert len(set(codes)) == len(codes)
    assert UnavailableError().headers == {"Retry-After": "5"}
