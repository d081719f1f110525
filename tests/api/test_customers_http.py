"""The API on a real server and socket: what the way there does to paths, bodies and headers."""

import gzip
import http.client
import json
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from customers.lookup import read
from scrm.api.models import ApiKey, digest_of
from scrm.api.scopes import DEFAULT_SCOPES as SCOPES
from tests.customers.people import make

pytestmark = pytest.mark.usefixtures("nothing_held")

TOKEN = "scrm_http_tests_have_one_key_for_them_all"


class Server:
    """Sends requests as they are written, over a connection of its own each."""

    def __init__(self, url: str) -> None:
        self._netloc = urlsplit(url).netloc
        # The same key in each test: a process looks for keys that it does not know once a second.
        ApiKey.objects.create(name="http", prefix=TOKEN[:12], digest=digest_of(TOKEN), scopes=list(SCOPES))
        self._headers = {"Authorization": f"Bearer {TOKEN}"}

    def send(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any, http.client.HTTPMessage]:
        connection = http.client.HTTPConnection(self._netloc, timeout=30)
        named = self._headers | {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, f"/api/v1{path}", body, named)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, json.loads(content) if content else None, response.headers


@pytest.fixture
def server(live_server_url: str) -> Server:
    return Server(live_server_url)


@pytest.mark.parametrize(
    "external_userid",
    ["o'brien", '"', "老王🙂", "a/b", "a//b", "..", "../x", "a%2Fb", "a?b#c", "a+b", "a;b", "%", "a b"],
)
def test_percent_encoded_ids_arrive_whole(external_userid: str, server: Server) -> None:
    path = f"/customers/{quote(external_userid, safe='')}/"
    status, _, headers = server.send(
        "PUT", path, json.dumps({"name": external_userid}), Content_Type="application/json"
    )
    assert (status, headers["Location"]) == (201, f"/api/v1{path}")
    status, found, _ = server.send("GET", path)
    assert (status, found["external_userid"], found["name"]) == (200, external_userid, external_userid)


def test_long_paths_are_refused_in_words(server: Server) -> None:
    status, found, _ = server.send("GET", f"/customers/{'x' * 10_240}/")
    assert (status, found["code"]) == (404, "unknown_customer")


def test_lookup_revalidation_and_gzip(server: Server) -> None:
    make("wm1", name="王小明")
    status, _, headers = server.send("GET", "/customers/wm1/")
    assert (status, headers["X-Cache"]) == (200, "miss")
    status, found, headers = server.send("GET", "/customers/wm1/", If_None_Match=headers["ETag"])
    assert (status, found, headers["X-Cache"]) == (304, None, "hit")
    status, found, headers = server.send("HEAD", "/customers/wm1/")
    assert (status, found, headers["X-Cache"]) == (200, None, "hit")
    body = gzip.compress(json.dumps({"mobile": "13812345678"}).encode())
    status, found, _ = server.send(
        "PATCH", "/customers/wm1/", body, Content_Type="application/json", Content_Encoding="gzip"
    )
    assert (status, found["mobile"]) == (200, "138****5678")
    stored: Any = read("wm1")[0]
    assert stored["mobile"] == "13812345678"


def test_body_of_unknown_length_is_read_or_refused_but_never_taken_for_an_empty_one(server: Server) -> None:
    make("wm1", mobile="13812345678")
    status, found, _ = server.send("PUT", "/customers/wm1/", iter([b"{"]), Content_Type="application/json")
    assert (status, found["code"]) in {(400, "malformed"), (411, "length_required")}
    stored: Any = read("wm1")[0]
    assert stored["mobile"] == "13812345678"


def test_docs_page_works_and_asks_no_foreign_host(page: Any, foreign_requests: list[str]) -> None:
    page.goto("/api/v1/docs/")
    page.wait_for_selector(".opblock", timeout=30_000)
    assert page.locator(".opblock").count() >= 13
    assert foreign_requests == []
