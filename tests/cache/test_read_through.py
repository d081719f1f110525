"""What a reader gets, what lies in Redis afterwards, and what does not."""

import json
import random

import pytest
import redis
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from scrm.cache import CacheClient, Loaded, Read, ReadThrough
from tests.cache.conftest import Source, reader


def test_a_miss_fills_and_the_next_read_hits(rt: ReadThrough, source: Source, redis_client: redis.Redis) -> None:
    source.values["a"] = b'{"name": "\xe7\x8e\x8b"}'
    assert rt.get("a") == Read(b'{"name": "\xe7\x8e\x8b"}', "miss")
    assert rt.get("a") == Read(b'{"name": "\xe7\x8e\x8b"}', "hit")
    assert source.asked == ["a"]
    assert redis_client.keys() == [b"thing:a"]  # and no guard
    assert redis_client.get("thing:a") == b'{"name": "\xe7\x8e\x8b"}'


def test_an_unknown_key_is_asked_for_once_in_ten_seconds(
    rt: ReadThrough, source: Source, redis_client: redis.Redis
) -> None:
    assert rt.get("nobody") == Read(None, "miss")
    assert rt.get("nobody") == Read(None, "negative")
    assert source.asked == ["nobody"]
    assert 9_000 < redis_client.pttl("thing:nobody") <= 10_000
    assert json.loads(redis_client.get("thing:nobody")) is None


def test_a_load_of_null_is_a_load_of_nothing(rt: ReadThrough, source: Source, redis_client: redis.Redis) -> None:
    source.values["a"] = b"null"
    assert rt.get("a") == Read(None, "miss")
    assert redis_client.ttl("thing:a") <= 10


@pytest.mark.parametrize("value", [b"", b'{"name": "\xe7', b"\x00\xff", b"x" * 1_000_000])
def test_bytes_come_back_as_they_were(rt: ReadThrough, source: Source, value: bytes) -> None:
    source.values["a"] = value
    assert [rt.get("a"), rt.get("a")] == [Read(value, "miss"), Read(value, "hit")]


def test_time_to_live_is_a_day_less_up_to_a_tenth(rt: ReadThrough, source: Source, redis_client: redis.Redis) -> None:
    random.seed(20)
    keys = [f"k{number}" for number in range(400)]
    source.values = dict.fromkeys(keys, b"1")
    for key in keys:
        rt.get(key)
    lives = [redis_client.ttl(f"thing:{key}") for key in keys]
    assert 77_760 + 60 < min(lives) < 78_500  # a minute later it is still within bounds
    assert 85_700 < max(lives) <= 86_400
    assert len({life // 864 for life in lives}) == 10  # spread over the whole of it


@given(key=st.text(), other=st.text())
@example(key="", other="guard:thing:")
@example(key="guard:thing:a", other="a")
@example(key="wm'\"`\\{}*?[a-z]", other="wm'\"`\\{}*?[a-z]\n")
@example(key="😀\r\n$3\r\n", other="😀")
@example(key="x" * 10_240, other="x" * 10_239)
@example(key="\x00", other="")
@example(key="\ud800", other="?")
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_a_key_of_its_own(
    rt: ReadThrough, source: Source, client: CacheClient, key: str, other: str
) -> None:
    client.redis.flushdb()
    source.values, source.asked = {key: b"key", other: b"other"}, []
    expected = source.values[key]
    assert rt.get(key) == Read(expected, "miss")
    rt.drop([other])
    assert rt.get(key) == Read(expected, "miss" if key == other else "hit")
    assert client.redis.keys() == [b"thing:" + key.encode("utf-8", "surrogatepass")]


def test_value_and_guard_have_the_names_that_others_rely_on(client: CacheClient, source: Source) -> None:
    rt = reader(client, source, prefix="wxwork_customer:")
    assert rt.value_key("wmEAAA") == "wxwork_customer:wmEAAA"
    assert rt.guard_key("wmEAAA") == "guard:wxwork_customer:wmEAAA"
    seen = []
    source.meanwhile = lambda: seen.extend(client.redis.keys())
    rt.get("wmEAAA")
    assert seen == [b"guard:wxwork_customer:wmEAAA"]


@pytest.mark.parametrize("prefix", ["", "g", "guard:", "guard:guard:"])
def test_a_prefix_under_which_guards_look_like_values_is_refused(
    client: CacheClient, source: Source, prefix: str
) -> None:
    with pytest.raises(ValueError, match="guard could be taken for a value"):
        reader(client, source, prefix=prefix)


def test_what_is_in_flight_is_read_and_not_kept(rt: ReadThrough, source: Source, redis_client: redis.Redis) -> None:
    source.values, source.in_flight = {"a": b"1"}, {"a"}
    assert [rt.get("a"), rt.get("a")] == [Read(b"1", "miss"), Read(b"1", "miss")]
    assert redis_client.keys() == []  # the lease was given back, so that nobody waits for it
    source.in_flight.clear()
    assert [rt.get("a"), rt.get("a")] == [Read(b"1", "miss"), Read(b"1", "hit")]


def test_a_load_that_fails_gives_the_lease_back(rt: ReadThrough, source: Source, redis_client: redis.Redis) -> None:
    def fail() -> None:
        raise ConnectionRefusedError("the department database")

    source.values["a"], source.meanwhile = b"1", fail
    with pytest.raises(ConnectionRefusedError, match="the department database"):
        rt.get("a")
    assert redis_client.keys() == []
    source.meanwhile = lambda: None
    assert rt.get("a") == Read(b"1", "miss")


def test_drop_deletes_values_and_guards_of_ten_thousand_keys(counted_client: CacheClient, source: Source) -> None:
    rt, redis_client = reader(counted_client, source), counted_client.redis
    keys = [f"k{number}" for number in range(10_001)]
    redis_client.mset({f"thing:{key}": "1" for key in keys} | {f"guard:thing:{key}": "1" for key in keys})
    redis_client.mset({"thing:other": "1", "guard:thing:other": "1", "k1": "1"})
    before = redis_client.info("commandstats")["cmdstat_del"]["calls"] if _has_deleted(redis_client) else 0
    rt.drop(keys)
    assert redis_client.info("commandstats")["cmdstat_del"]["calls"] - before == 11
    assert sorted(redis_client.keys()) == [b"guard:thing:other", b"k1", b"thing:other"]


def _has_deleted(client: redis.Redis) -> bool:
    return "cmdstat_del" in client.info("commandstats")


def test_drop_of_nothing_asks_nothing(source: Source) -> None:
    def connect() -> CacheClient:
        raise AssertionError("asked")

    ReadThrough(connect, prefix="thing:", ttl_seconds=1, load=source.load).drop([])


def test_drop_wants_keys_not_a_key(rt: ReadThrough) -> None:
    with pytest.raises(TypeError, match="several keys"):
        rt.drop("abc")


def test_a_hit_is_one_command(counted_client: CacheClient, source: Source) -> None:
    rt, redis_client = reader(counted_client, source), counted_client.redis
    source.values["a"] = b"1"
    rt.get("a")
    redis_client.config_resetstat()
    rt.get("a")
    stats = redis_client.info("commandstats")
    assert {
        name: stat["calls"] for name, stat in stats.items() if name.startswith(("cmdstat_get", "cmdstat_eval"))
    } == {"cmdstat_get": 1}


@pytest.mark.parametrize("name", ["thing:a", "guard:thing:a"])
def test_a_foreign_type_at_a_key_is_cleared_away(
    rt: ReadThrough, source: Source, redis_client: redis.Redis, name: str
) -> None:
    source.values["a"] = b"1"
    redis_client.sadd(name, "foreign")
    assert [rt.get("a"), rt.get("a")] == [Read(b"1", "miss"), Read(b"1", "hit")]
    assert redis_client.keys() == [b"thing:a"]


def test_a_guard_that_never_expires_bars_nothing(rt: ReadThrough, source: Source, redis_client: redis.Redis) -> None:
    source.values["a"] = b"1"
    redis_client.set("guard:thing:a", "by hand")
    assert [rt.get("a"), rt.get("a")] == [Read(b"1", "miss"), Read(b"1", "hit")]


def test_scripts_that_the_server_forgot_are_sent_again(
    rt: ReadThrough, source: Source, redis_client: redis.Redis
) -> None:
    source.values = {"a": b"1", "b": b"2"}
    source.in_flight = {"b"}
    for _ in range(2):
        redis_client.script_flush()
        rt.drop(["a", "b"])
        assert [rt.get("a").source, rt.get("a").source, rt.get("b").source] == ["miss", "hit", "miss"]


def test_counters_say_where_reads_came_from(client: CacheClient, source: Source) -> None:
    rt = reader(client, source, prefix="counted:")
    source.values = {"a": b"1", "b": b"2"}
    source.in_flight = {"b"}
    for key in ("a", "a", "a", "nobody", "nobody", "b"):
        rt.get(key)
    rt.drop(["a", "b", "c"])
    assert {source: counter._value.get() for source, counter in rt._reads.items()} == {
        "hit": 2,
        "miss": 3,
        "negative": 1,
        "bypass": 0,
    }
    assert {outcome: counter._value.get() for outcome, counter in rt._loads.items()} == {
        "filled": 2,
        "unfillable": 1,
        "refused": 0,
        "unleased": 0,
        "failed": 0,
    }
    assert {outcome: counter._value.get() for outcome, counter in rt._dropped.items()} == {"told": 3, "untold": 0}


def test_loads_may_be_given_as_plain_pairs(client: CacheClient) -> None:
    rt = ReadThrough(lambda: client, prefix="thing:", ttl_seconds=60, load=lambda key: Loaded(key.encode(), True))
    assert rt.get("a") == Read(b"a", "miss")
