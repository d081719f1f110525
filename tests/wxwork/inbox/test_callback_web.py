"""/wxwork/callback on a real web server: bodies that lie, servers that are down, many at once."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
import redis

from tests.servers import PrivatePostgres, PrivateValkey
from tests.wxwork.inbox.conftest import body_of, query, sealed
from tests.wxwork.inbox.deeds import deed
from tests.wxwork.inbox.web import Web, web_server
from wxwork.inbox.waking import ENOUGH
from wxwork.models import Callback, CallbackKey


@pytest.fixture(scope="module")
def web(django_db_setup: None) -> Iterator[Web]:
    with web_server() as server:
        yield server


def head(encrypted: str, *lines: str) -> str:
    return "\n".join([f"POST /wxwork/callback?{query(encrypted)} HTTP/1.1", "Host: localhost", *lines])


def chunked(body: bytes, size: int) -> bytes:
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def test_a_push_over_http_is_stored_and_a_worker_is_woken(web: Web, broker_client: redis.Redis) -> None:
    assert web.push(deed("wm1", 1)) == (200, b"")
    assert Callback.objects.get().state == "pending"
    deadline = time.monotonic() + 5
    while not broker_client.llen("callbacks") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert broker_client.llen("callbacks") == 1
    assert broker_client.llen("welcome") == 0


def test_a_chunked_body_is_read(web: Web) -> None:
    encrypted = sealed(deed("wm1", 1))
    found = web.raw(
        head(encrypted, "Transfer-Encoding: chunked", "Connection: close"), chunked(body_of(encrypted), 100)
    )
    assert found.startswith(b"HTTP/1.1 200")
    assert Callback.objects.count() == 1


def test_a_chunked_body_without_end_is_refused_before_it_is_read(web: Web) -> None:
    encrypted = sealed(deed("wm1", 1))
    body = chunked(b"x" * 200_000, 10_000)
    found = web.raw(head(encrypted, "Transfer-Encoding: chunked", "Connection: close"), body)
    assert found.startswith(b"HTTP/1.1 413")


def test_a_length_that_is_too_large_is_refused_though_no_body_follows(web: Web) -> None:
    encrypted = sealed(deed("wm1", 1))
    found = web.raw(head(encrypted, "Content-Length: 10000000", "Connection: close"), b"x")
    assert found.startswith(b"HTTP/1.1 413")


def test_a_length_that_is_too_small_cuts_the_body_off(web: Web) -> None:
    encrypted = sealed(deed("wm1", 1))
    body = body_of(encrypted)
    found = web.raw(head(encrypted, f"Content-Length: {len(body) - 5}", "Connection: close"), body)
    assert found.startswith(b"HTTP/1.1 403")
    assert Callback.objects.count() == 0


def test_without_the_control_database_wecom_is_told_to_come_again(postgres_server: PrivatePostgres) -> None:
    with web_server(DATABASE_URL=postgres_server.url("scrm")) as web:
        postgres_server.stop()
        status, body = web.push(deed("wm1", 1))
        assert (status, body) == (503, b"")


@pytest.mark.parametrize("trouble", ["stopped", "paused"])
def test_a_broker_that_is_down_keeps_no_answer_waiting(
    trouble: str, valkey_server: Callable[..., PrivateValkey]
) -> None:
    broker = valkey_server(keeps=True)
    with web_server(CELERY_BROKER_URL=broker.url) as web:
        web.push(deed("wm1", 0))
        (broker.stop if trouble == "stopped" else broker.pause)()
        try:
            connection, took = web.connect(), []
            for n in range(1, 41):
                began = time.monotonic()
                assert web.push(deed("wm1", n), connection) == (200, b"")
                took.append(time.monotonic() - began)
        finally:
            if trouble == "paused":
                broker.resume()
    # A broker that is waited for costs a second at least (scrm.celery); a busy machine, less.
    assert sorted(took)[35] < 0.5
    assert Callback.objects.count() == 41


def test_messages_do_not_pile_up_without_workers(web: Web, broker_client: redis.Redis) -> None:
    """Many callers at once, a tenth of them with what has been pushed already."""
    failed: list[object] = []

    def press(first: int) -> None:
        connection = web.connect()
        for n in range(first, first + 50):
            status, _body = web.push(deed(f"wm{n % 7}", n - n % 10 if n % 10 == 9 else n), connection)
            if status != 200:
                failed.append(status)

    threads = [threading.Thread(target=press, args=(first,)) for first in range(0, 400, 50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    time.sleep(0.1)
    assert failed == []
    assert CallbackKey.objects.count() == 7
    assert 1 <= broker_client.llen("callbacks") <= ENOUGH
    assert sum(Callback.objects.values_list("arrivals", flat=True)) == 400
