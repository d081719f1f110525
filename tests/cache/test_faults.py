"""A Redis that is down, frozen, restarted, read-only or full: slower, never wrong, never an error to a reader."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from scrm.cache import CacheClient, CacheRefusedError, CacheUnreachableError, Read, ReadThrough, settle
from scrm.cache.client import TIMEOUT_SECONDS
from scrm.cache.read_through import WAIT_SECONDS
from tests.cache.conftest import Source, reader
from tests.servers import PrivateValkey

OPEN_SECONDS = 0.2


@pytest.fixture
def server(valkey_server: Callable[..., PrivateValkey]) -> PrivateValkey:
    return valkey_server()


@pytest.fixture
def client(server: PrivateValkey) -> Iterator[CacheClient]:
    client = CacheClient.from_url(server.url, open_seconds=OPEN_SECONDS)
    yield client
    client.redis.close()


def after_the_breaker_closes(client: CacheClient) -> None:
    """Wait until the next call is the trial."""
    assert client.breaker.is_open
    time.sleep(OPEN_SECONDS + 0.05)


def test_stopped_server(server: PrivateValkey, client: CacheClient, rt: ReadThrough, source: Source) -> None:
    source.values["a"] = b"1"
    rt.get("a")
    server.stop()
    assert [rt.get("a"), rt.get("a"), rt.get("nobody")] == [Read(b"1", "bypass")] * 2 + [Read(None, "bypass")]
    assert source.asked == ["a", "a", "a", "nobody"]
    with pytest.raises(CacheUnreachableError):
        rt.drop(["a"])
    server.start()
    after_the_breaker_closes(client)
    assert [rt.get("a"), rt.get("a")] == [Read(b"1", "miss"), Read(b"1", "hit")]


def test_server_restarted_empty_between_two_reads(
    server: PrivateValkey, client: CacheClient, rt: ReadThrough, source: Source
) -> None:
    source.values["a"] = b"1"
    rt.get("a")
    server.restart()
    assert [rt.get("a"), rt.get("a")] == [Read(b"1", "miss"), Read(b"1", "hit")]
    assert not client.breaker.is_open


def test_server_restarted_empty_inside_a_load(
    server: PrivateValkey, client: CacheClient, rt: ReadThrough, source: Source
) -> None:
    source.values["a"], source.meanwhile = b"1", server.restart
    assert rt.get("a") == Read(b"1", "miss")
    assert client.redis.keys() == []


def test_server_stopped_inside_a_load(
    server: PrivateValkey, client: CacheClient, rt: ReadThrough, source: Source
) -> None:
    source.values["a"], source.meanwhile = b"1", server.stop
    assert rt.get("a") == Read(b"1", "miss")
    assert client.breaker.is_open


def test_frozen_server_costs_one_timeout_not_one_a_read(
    server: PrivateValkey, client: CacheClient, source: Source
) -> None:
    client.breaker._open_seconds = 30.0
    rt = reader(client, source)
    source.values["a"] = b"1"
    rt.get("a")
    server.pause()
    try:
        began = time.monotonic()
        assert {rt.get("a") for _ in range(200)} == {Read(b"1", "bypass")}
        for _ in range(200):
            with pytest.raises(CacheUnreachableError):
                rt.drop(["a"])
        assert time.monotonic() - began < 3 * TIMEOUT_SECONDS  # 400 of them would be 200 s
        assert len(source.asked) == 201
    finally:
        server.resume()
    client.breaker.close()
    assert rt.get("a") == Read(b"1", "hit")


def test_frozen_server_and_many_threads(server: PrivateValkey, client: CacheClient, source: Source) -> None:
    rt = reader(client, source)
    source.values["a"] = b"1"
    server.pause()
    try:
        with ThreadPoolExecutor(50) as pool:
            began = time.monotonic()
            assert set(pool.map(lambda _: rt.get("a"), range(200))) == {Read(b"1", "bypass")}
            assert time.monotonic() - began < WAIT_SECONDS + 3 * TIMEOUT_SECONDS
    finally:
        server.resume()
    after_the_breaker_closes(client)
    source.asked.clear()
    with ThreadPoolExecutor(50) as pool:
        # The first is the trial; who comes while it is under way goes past it.
        assert {read.value for read in pool.map(lambda _: rt.get("a"), range(200))} == {b"1"}
    assert rt.get("a") == Read(b"1", "hit")


def test_fill_that_a_frozen_server_carries_out_later_is_undone_by_the_keeper(
    server: PrivateValkey, client: CacheClient, source: Source
) -> None:
    """The reader has gone and the writer could not delete: the fill is still under way in a socket."""
    rt, keeper = reader(client, source), reader(CacheClient.from_url(server.url), source)
    rt.get("b")  # the server knows the scripts
    source.values["a"], source.meanwhile = b"1", server.pause
    assert rt.get("a") == Read(b"1", "miss")
    with pytest.raises(CacheUnreachableError):
        rt.drop(["a"])
    source.values["a"], source.meanwhile = b"2", lambda: None
    server.resume()
    time.sleep(0.05)
    assert client.redis.get("thing:a") == b"1"
    assert settle(keeper, [(7, "a")]) == [7]
    assert keeper.get("a") == Read(b"2", "miss")


def test_wrong_password(server: PrivateValkey, source: Source) -> None:
    rt = reader(CacheClient.from_url(server.url.replace(server.secret, "wrong")), source)
    source.values["a"] = b"1"
    assert rt.get("a") == Read(b"1", "bypass")
    with pytest.raises(CacheUnreachableError):
        rt.drop(["a"])


def test_a_server_that_is_no_redis(source: Source, live_http: int) -> None:
    rt = reader(CacheClient.from_url(f"redis://127.0.0.1:{live_http}/0"), source)
    source.values["a"] = b"1"
    assert rt.get("a") == Read(b"1", "bypass")


@pytest.fixture
def live_http() -> Iterator[int]:
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_read_only_replica(client: CacheClient, rt: ReadThrough, source: Source) -> None:
    source.values["a"] = b"1"
    rt.get("a")
    client.redis.execute_command("REPLICAOF", "127.0.0.1", "1")
    assert rt.get("a") == Read(b"1", "hit")
    assert rt.get("b") == Read(None, "bypass")
    with pytest.raises(CacheRefusedError, match="read only replica"):
        rt.drop(["a"])
    assert not client.breaker.is_open  # it answers, and quickly
    client.redis.execute_command("REPLICAOF", "NO", "ONE")
    rt.drop(["a"])
    assert rt.get("a") == Read(b"1", "miss")


def test_an_answer_in_the_negative_is_an_answer(client: CacheClient) -> None:
    client.breaker.trip("TimeoutError")
    after_the_breaker_closes(client)
    with pytest.raises(CacheRefusedError):
        client.call("NONSENSE")
    assert not client.breaker.is_open


def test_full_server_that_makes_no_room(client: CacheClient, rt: ReadThrough, source: Source) -> None:
    source.values["a"] = b"1"
    client.redis.config_set("maxmemory-policy", "noeviction")
    client.redis.config_set("maxmemory", "1")
    assert rt.get("a") == Read(b"1", "bypass")
    rt.drop(["a"])  # deleting still works
    client.redis.config_set("maxmemory", "0")
    source.meanwhile = lambda: client.redis.config_set("maxmemory", "1")
    assert rt.get("a") == Read(b"1", "miss")
    assert client.redis.keys() == []  # not kept, and the lease went back
    client.redis.config_set("maxmemory", "0")
    source.meanwhile = lambda: None
    assert [rt.get("a"), rt.get("a")] == [Read(b"1", "miss"), Read(b"1", "hit")]


def test_no_permission(server: PrivateValkey, client: CacheClient, source: Source) -> None:
    client.redis.execute_command("ACL", "SETUSER", "shy", "on", ">shy", "~*", "+get")
    rt = reader(CacheClient.from_url(f"redis://shy:shy@127.0.0.1:{server.port}/0"), source)
    source.values["a"] = b"1"
    assert rt.get("a") == Read(b"1", "bypass")
    with pytest.raises(CacheRefusedError):
        rt.drop(["a"])


def test_drop_that_fails_half_way_says_so(client: CacheClient, rt: ReadThrough) -> None:
    keys = [f"k{number}" for number in range(2500)]
    client.redis.mset({f"thing:{key}": "1" for key in keys})
    call, calls = client.call, []

    def stop_after_one(*command: object) -> object:
        calls.append(command)
        if len(calls) == 2:
            client.redis.config_set("requirepass", "other")
            client.redis.connection_pool.disconnect()
        return call(*command)

    client.call = stop_after_one  # type: ignore[method-assign]
    with pytest.raises(CacheUnreachableError):
        rt.drop(keys)
    assert len(calls) == 2
    assert [rt._dropped["told"]._value.get() > 0, rt._dropped["untold"]._value.get() > 0] == [True, True]


def test_client_does_not_retry(client: CacheClient) -> None:
    assert client.redis.get_retry() is None or client.redis.get_retry().get_retries() == 0
    options = client.redis.connection_pool.connection_kwargs
    assert (options["socket_timeout"], options["socket_connect_timeout"]) == (0.5, 0.25)


def test_errors_are_redis_errors_underneath(client: CacheClient) -> None:
    with pytest.raises(CacheRefusedError) as raised:
        client.call("NONSENSE")
    assert isinstance(raised.value.__cause__, redis.ResponseError)
