"""Lookups answered before Django: the same answer as Django's, and nothing that is not plainly theirs."""

from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
import redis
from django.test import RequestFactory
from django.test.utils import override_settings
from django.utils import timezone

from customers.front import LookupFront
from customers.models import Department, Staff, Tag, TagGroup
from scrm.api.keys import revoke_key, ring
from scrm.api.models import ApiKey
from scrm.held import forget_all
from scrm.wsgi import application
from tests.api.clients import Api, customer
from tests.counting import Counted
from tests.customers.people import follow, make
from tests.servers import PrivateValkey

pytestmark = pytest.mark.usefixtures("nothing_held")


class Asked:
    """What a WSGI application answers to one request."""

    def __init__(self, application: Any, environ: dict[str, Any]) -> None:
        self.body = b"".join(application(environ, self._start))

    def _start(self, status: str, headers: list[tuple[str, str]], *_rest: Any) -> None:
        self.status, self.headers = status, dict(headers)


class Django:
    """Django's handler, which says whether it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.asked += 1
        start_response("299 Django", [])
        return [b"Django"]


def environ_of(api: Api, external_userid: str, method: str = "GET", query: str = "", **more: str) -> dict[str, Any]:
    path = f"/api/v1{customer(external_userid)}"
    headers = {"HTTP_AUTHORIZATION": f"Bearer {api.token}", "HTTP_HOST": "testserver"}
    environ = RequestFactory().generic(method, path, QUERY_STRING=query, **headers, **more).environ
    # As servers hand it over; Django's request object has decoded it.
    return environ | {"PATH_INFO": unquote_to_bytes(path).decode("latin-1")}


@pytest.fixture
def company() -> None:
    Department.objects.create(id=1, name="总部")
    Department.objects.create(id=100, name="华东", parent_id=1)
    Department.objects.create(id=101, name="华南", parent_id=1)
    for userid, department in (("zhang", 100), ("chen", 101)):
        Staff.objects.create(userid=userid, name=userid).departments.add(department)
    Tag.objects.create(id="et1", name="金卡", group=TagGroup.objects.create(id="g1", name="等级"))
    forget_all()
    follows = (follow("zhang", remark="老王", mobiles=("13912340000",), tag_ids=("et1",)), follow("chen"))
    make("wm老王'🙂", home=100, name="王小明", mobile="13812345678", follows=follows)


def warm(api: Api) -> None:
    assert api.look_up("wm老王'🙂")["X-Cache"] in ("miss", "hit")


@pytest.mark.parametrize("departments", [(), (100,)])
def test_the_answer_is_the_one_that_django_gives(company: None, departments: tuple[int, ...]) -> None:
    api = Api(departments=departments)
    warm(api)
    theirs = Asked(application._django, environ_of(api, "wm老王'🙂"))
    django = Django()
    ours = Asked(LookupFront(django), environ_of(api, "wm老王'🙂"))
    assert (django.asked, ours.status, ours.body) == (0, "200 OK", theirs.body)
    # No language is chosen for it, and no user asked for.
    theirs.headers.pop("Content-Language")
    assert theirs.headers.pop("Vary") == "Authorization, Accept-Language"
    assert ours.headers.pop("Vary") == "Authorization"
    assert ours.headers == theirs.headers
    assert ours.headers["X-Cache"] == "hit"
    assert "13812345678" not in ours.body.decode()


def test_a_cached_lookup_asks_no_database(company: None) -> None:
    api = Api()
    warm(api)
    front = LookupFront(Django())
    front.find(environ_of(api, "wm老王'🙂"))
    with Counted() as counted:
        assert front.find(environ_of(api, "wm老王'🙂")) is not None
    assert sum(counted.counts.values()) == 0


def test_a_key_that_is_only_used_here_counts_as_used(company: None) -> None:
    warm(Api("other"))
    api = Api("only-here")
    assert LookupFront(Django()).find(environ_of(api, "wm老王'🙂")) is not None
    assert ApiKey.objects.get(name="only-here").last_used_on == timezone.localdate()


@pytest.mark.parametrize(
    ("method", "query", "more"),
    [
        ("HEAD", "", {}),
        ("PUT", "", {}),
        ("DELETE", "", {}),
        ("GET", "fields=name", {}),
        ("GET", "", {"HTTP_IF_NONE_MATCH": '"1"'}),
        ("GET", "", {"HTTP_HOST": "evil.example"}),
        ("GET", "", {"HTTP_HOST": ""}),
        ("GET", "", {"SCRIPT_NAME": "/elsewhere"}),
        ("GET", "", {"HTTP_AUTHORIZATION": "Bearer scrm_wrong"}),
        ("GET", "", {"HTTP_AUTHORIZATION": ""}),
    ],
)
def test_what_is_not_plain_is_djangos(company: None, method: str, query: str, more: dict[str, str]) -> None:
    api = Api()
    warm(api)
    django = Django()
    environ = environ_of(api, "wm老王'🙂", method, query) | more
    assert Asked(LookupFront(django), environ).status == "299 Django"
    assert django.asked == 1


@pytest.mark.parametrize("path", ["by-id/1000000000001", "wm1/profile", "", "\xff"])
def test_other_paths_are_djangos(company: None, path: str) -> None:
    api = Api()
    environ = environ_of(api, "x") | {"PATH_INFO": f"/api/v1/customers/{path}/"}
    assert LookupFront(Django()).find(environ) is None


def test_who_is_not_cached_unknown_or_out_of_scope_is_djangos(company: None) -> None:
    make("wm-cold", home=100)
    for api, person in ((Api(), "wm-cold"), (Api("b"), "wm-nobody"), (Api("south", departments=[101]), "wm-north")):
        assert LookupFront(Django()).find(environ_of(api, person)) is None
    make("wm-north", home=100, follows=(follow("zhang"),))
    api = Api("c")
    assert api.look_up("wm-north").status_code == 200
    south = environ_of(Api("d", departments=[101]), "wm-north")
    assert LookupFront(Django()).find(environ_of(api, "wm-north")) is not None
    assert LookupFront(Django()).find(south) is None


def test_negative_entries_and_mobiles_in_clear_are_djangos(company: None, redis_client: redis.Redis) -> None:
    api = Api()
    assert api.look_up("wm-nobody").status_code == 404
    assert redis_client.get("wxwork_customer:wm-nobody") == b"null"
    assert LookupFront(Django()).find(environ_of(api, "wm-nobody")) is None
    clear = Api("clear", scopes=["customers:read", "pii:read"])
    warm(api)
    assert LookupFront(Django()).find(environ_of(clear, "wm老王'🙂")) is None


def test_a_revoked_key_and_one_without_the_scope_are_djangos(company: None) -> None:
    api, writer = Api(), Api("writer", scopes=["behaviors:write"])
    warm(api)
    assert LookupFront(Django()).find(environ_of(writer, "wm老王'🙂")) is None
    assert LookupFront(Django()).find(environ_of(api, "wm老王'🙂")) is not None
    revoke_key(api.name)
    ring.forget()
    assert LookupFront(Django()).find(environ_of(api, "wm老王'🙂")) is None


def test_tls_is_asked_for_where_it_is_required(company: None) -> None:
    api = Api()
    warm(api)
    plain, secure = environ_of(api, "wm老王'🙂"), environ_of(api, "wm老王'🙂", HTTP_X_FORWARDED_PROTO="https")
    with override_settings(
        SECURE_SSL_REDIRECT=True, SECURE_HSTS_SECONDS=31536000, SECURE_HSTS_INCLUDE_SUBDOMAINS=True,
        SECURE_HSTS_PRELOAD=True, SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
    ):  # fmt: skip
        front = LookupFront(Django())
        assert front.find(plain) is None
        answer = front.find(secure)
        assert answer is not None
        assert dict(answer[1])["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains; preload"


def test_redis_out_of_reach_is_djangos(company: None, valkey_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from customers.lookup import CACHE
    from scrm.cache.client import CacheClient

    server: PrivateValkey = valkey_server()
    monkeypatch.setitem(CACHE.__dict__, "client", CacheClient.from_url(server.url))
    api = Api()
    warm(api)
    front = LookupFront(Django())
    assert front.find(environ_of(api, "wm老王'🙂")) is not None
    server.stop()
    assert front.find(environ_of(api, "wm老王'🙂")) is None
    assert api.look_up("wm老王'🙂")["X-Cache"] == "bypass"
