"""One token for all processes: who fetches it, who waits, what happens when it is refused, and without Redis."""

import hashlib
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from scrm.cache import redis_client as redis_client_of_the_product
from tests.wxwork.client.conftest import result_of
from wxwork import tokens
from wxwork.client import wecom
from wxwork.errors import ConfigError, LimitedError, RetryError
from wxwork.grants import Grant, Held

GETTOKEN = tokens.GETTOKEN
FOLLOW = "/cgi-bin/externalcontact/get_follow_user_list"
KEY = f"wecom:token:wwsimulator:{hashlib.sha256(b'simulator-secret').hexdigest()[:16]}"

WHEN_TOLD = """
import json, sys
from wxwork import tokens
credential = tokens.credential()
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps(tokens.get(credential).value), flush=True)
"""


def test_a_token_is_fetched_once_and_kept_under_a_name_without_the_secret(simulator, redis_client):
    first = tokens.get(tokens.credential())
    assert tokens.get(tokens.credential()) == first
    assert simulator.corp.calls[GETTOKEN] == 1
    assert redis_client.get(KEY).decode() == first.value
    assert 6890 < redis_client.ttl(KEY) <= 6900
    kept = [KEY.encode(), f"{KEY}:stamp".encode(), b"wecom:calls:wwsimulator"]
    assert sorted(redis_client.keys("*")) == sorted(kept)


def test_four_processes_with_an_empty_cache_fetch_one_token(simulator, start_process):
    simulator.faults(GETTOKEN, latency_seconds=0.4, times=None)
    processes = [start_process(WHEN_TOLD) for _ in range(4)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    found = {result_of(process) for process in processes}
    assert len(found) == 1
    assert simulator.corp.calls[GETTOKEN] == 1


def test_threads_that_come_at_once_fetch_one_token(simulator):
    simulator.faults(GETTOKEN, latency_seconds=0.2, times=None)
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda _: tokens.get(tokens.credential()), range(24)))
    assert len(set(found)) == 1
    assert simulator.corp.calls[GETTOKEN] == 1


def test_a_token_that_is_refused_is_fetched_anew_and_the_call_made_once_more(simulator):
    wecom().list_follow_staff()
    for act in ("revoke_tokens", "expire_tokens"):  # 40014, 42001
        before = simulator.corp.calls[GETTOKEN]
        simulator.act(act)
        assert wecom().list_follow_staff()
        assert simulator.corp.calls[GETTOKEN] == before + 1


def test_a_crowd_that_is_refused_leads_to_one_new_token(simulator):
    wecom().list_follow_staff()
    simulator.act("revoke_tokens")
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: len(wecom().list_follow_staff()), range(32)))
    assert set(found) == {found[0]}
    assert simulator.corp.calls[GETTOKEN] == 2


def test_a_crowd_whose_new_token_is_the_old_one_does_not_fetch_again_and_again(simulator):
    wecom().list_follow_staff()
    simulator.faults(FOLLOW, errcode=40014, times=None)
    with ThreadPoolExecutor(16) as pool:
        errors = [pool.submit(wecom().list_follow_staff).exception() for _ in range(64)]
    assert all(isinstance(error, ConfigError) for error in errors)
    assert simulator.corp.calls[GETTOKEN] == 2
    assert simulator.corp.calls[FOLLOW] < 40  # and before long nobody calls at all


def test_a_second_refusal_is_a_matter_of_configuration_and_holds_calls_back_for_seconds(simulator, redis_client):
    simulator.faults(FOLLOW, errcode=40014, times=2)
    with pytest.raises(ConfigError) as caught:
        wecom().list_follow_staff()
    assert caught.value.code == 40014
    assert (simulator.corp.calls[FOLLOW], simulator.corp.calls[GETTOKEN]) == (2, 2)
    with pytest.raises(ConfigError, match="not asked again for"):
        wecom().list_follow_staff()
    assert simulator.corp.calls[FOLLOW] == 2
    assert 0 < redis_client.pttl(f"{KEY}:refused") <= 5000
    redis_client.delete(f"{KEY}:refused")  # those seconds later
    assert wecom().list_follow_staff()


def test_one_refusal_of_a_token_that_is_good_costs_one_fetch(simulator):
    simulator.faults(FOLLOW, errcode=40014, times=1)
    assert wecom().list_follow_staff()
    assert (simulator.corp.calls[FOLLOW], simulator.corp.calls[GETTOKEN]) == (2, 2)


def test_only_the_token_that_was_refused_is_deleted(simulator, redis_client):
    credential = tokens.credential()
    old = tokens.get(credential)
    tokens.forget(credential, Held(old.value, "another stamp"))
    tokens.forget(credential, Held("another", old.stamp))
    assert redis_client.get(KEY).decode() == old.value
    tokens.forget(credential, old)
    assert redis_client.get(KEY) is None


def test_a_token_that_somebody_else_has_put_there_is_used_and_forgotten_like_ours(simulator, redis_client):
    redis_client.set(KEY, "not-a-token", ex=600)
    assert wecom().list_follow_staff()
    assert simulator.corp.calls[FOLLOW] == 2
    assert redis_client.get(KEY).startswith(b"sim_tok_")


# ------------------------------------------------------------------------------------------------------------- breaker
@pytest.mark.parametrize(
    ("setting", "value", "code"),
    [("WXWORK_SECRET", "wrong", 40001), ("WXWORK_CORP_ID", "wwother", 40013)],
)
def test_wrong_credentials_are_asked_for_once_in_ten_minutes(simulator, settings, redis_client, setting, value, code):
    setattr(settings, setting, value)
    for _ in range(5):
        with pytest.raises(ConfigError) as caught:
            wecom().list_follow_staff()
        assert caught.value.code == code
    assert simulator.corp.calls[GETTOKEN] == 1
    key = next(key for key in redis_client.keys("*") if key.endswith(b":refused"))
    assert 590_000 < redis_client.pttl(key) <= 600_000


def test_the_breaker_holds_for_all_processes_and_ends_with_another_secret(simulator, settings, start_process):
    settings.WXWORK_SECRET = "wrong"
    with pytest.raises(ConfigError):
        wecom().list_follow_staff()
    code = """
import json
from wxwork.client import wecom
from wxwork.errors import ConfigError
try:
    wecom().list_follow_staff()
except ConfigError as error:
    print(json.dumps(error.code))
"""
    assert result_of(start_process(code)) == 40001
    assert simulator.corp.calls[GETTOKEN] == 1
    settings.WXWORK_SECRET = "simulator-secret"
    assert wecom().list_follow_staff()


def test_an_address_that_is_not_trusted_stops_all_calls_also_with_a_good_token(simulator):
    wecom().list_follow_staff()
    simulator.act("set_trusted_ips", ips=["10.0.0.1"])
    for _ in range(3):
        with pytest.raises(ConfigError) as caught:
            wecom().list_follow_staff()
        assert caught.value.code == 60020
    assert (simulator.corp.calls[FOLLOW], simulator.corp.calls[GETTOKEN]) == (2, 1)
    simulator.act("set_trusted_ips", ips=None)
    tokens.grant_of(tokens.credential()).allow()
    assert wecom().list_follow_staff()


def test_one_secret_being_refused_is_no_matter_of_the_other(simulator, settings):
    settings.WXWORK_CONTACTS_SECRET = "wrong"
    with pytest.raises(ConfigError):
        wecom().list_departments()
    assert wecom().list_follow_staff()
    settings.WXWORK_CONTACTS_SECRET = ""  # then the application's is taken
    assert wecom().list_departments()


@pytest.mark.parametrize("missing", ["WXWORK_SECRET", "WXWORK_CORP_ID"])
def test_without_settings_nobody_is_asked(simulator, settings, missing):
    settings.WXWORK_CONTACTS_SECRET = ""
    setattr(settings, missing, "")
    with pytest.raises(ConfigError, match=missing):
        wecom().list_follow_staff()
    assert sum(simulator.corp.calls.values()) == 0


def test_a_gettoken_that_fails_once_costs_nobody_a_call(simulator):
    simulator.faults(GETTOKEN, status=502, times=1)
    assert wecom().list_follow_staff()
    assert simulator.corp.calls[GETTOKEN] == 2


def test_a_host_that_does_not_answer_is_not_asked_by_everybody_who_waits(simulator):
    simulator.faults(GETTOKEN, status=502, latency_seconds=0.3, times=None)
    with ThreadPoolExecutor(10) as pool:
        errors = [pool.submit(tokens.get, tokens.credential()) for _ in range(10)]
        assert all(isinstance(error.exception(), RetryError) for error in errors)
    assert simulator.corp.calls[GETTOKEN] == 1


@pytest.mark.parametrize("body", ["truncated", "html", "empty", "no_errcode"])
def test_a_gettoken_that_answers_nonsense_is_no_token(simulator, redis_client, body):
    simulator.faults(GETTOKEN, body=body, times=1)
    if body == "no_errcode":  # which is a success, as WeCom has it
        assert tokens.get(tokens.credential()).value.startswith("sim_tok_")
        return
    with pytest.raises(RetryError):
        tokens.get(tokens.credential())
    assert redis_client.get(KEY) is None


# ----------------------------------------------------------------------------------------- processes that die, no Redis
@pytest.mark.parametrize("left", ["lock", "lock and refusal", "value without stamp"])
def test_whatever_a_process_that_died_has_left_another_gets_a_token(simulator, redis_client, monkeypatch, left):
    redis_client.set(f"{KEY}:lock", "of the dead", px=400)  # its ten seconds are nearly over
    if left == "lock and refusal":
        redis_client.set(f"{KEY}:refused", b"not json", px=300)
        with pytest.raises(ConfigError):
            tokens.get(tokens.credential())
        time.sleep(0.35)
    if left == "value without stamp":
        redis_client.set(KEY, "sim_tok_stale", px=100)
        assert tokens.get(tokens.credential()) == Held("sim_tok_stale", "")
        time.sleep(0.15)
    began = time.monotonic()
    assert tokens.get(tokens.credential()).value.startswith("sim_tok_1000025")
    assert time.monotonic() - began < 2
    assert redis_client.get(f"{KEY}:lock") is None


def test_a_process_killed_while_it_fetches_delays_the_others_until_its_lock_is_over(
    simulator, redis_client, start_process
):
    simulator.faults(GETTOKEN, latency_seconds=30, times=1)
    process = start_process(WHEN_TOLD)
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("\n")
    process.stdin.flush()
    deadline = time.monotonic() + 10
    while not simulator.corp.calls[GETTOKEN]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    assert 9_000 < redis_client.pttl(f"{KEY}:lock") <= 10_000
    redis_client.pexpire(f"{KEY}:lock", 300)
    assert tokens.get(tokens.credential()).value.startswith("sim_tok_")


def test_who_lost_the_lock_meanwhile_stores_nothing(simulator, redis_client):
    def slow():
        redis_client.set(f"{KEY}:lock", "another's", px=5000)
        redis_client.set(KEY, "newer", px=60_000)
        return "older", 7200.0

    grant = Grant("token", KEY, slow)
    assert grant.get().value == "older"  # good for its own call
    assert redis_client.get(KEY) == b"newer"
    assert redis_client.get(f"{KEY}:lock") == b"another's"


def test_with_redis_down_each_process_fetches_for_itself_once_and_carries_on(simulator, settings, valkey_server):
    server = valkey_server()
    settings.REDIS_URL = server.url
    server.stop()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: tokens.get(tokens.credential()), range(16)))
    assert len(set(found)) == 1
    assert simulator.corp.calls[GETTOKEN] == 1
    assert wecom().list_follow_staff()
    simulator.act("revoke_tokens")
    assert wecom().list_follow_staff()
    assert simulator.corp.calls[GETTOKEN] == 2


def test_redis_that_goes_away_takes_no_token_and_comes_back_empty(simulator, settings, valkey_server):
    server = valkey_server()
    settings.REDIS_URL = server.url
    assert wecom().list_follow_staff()
    server.stop()
    assert wecom().list_follow_staff()
    assert simulator.corp.calls[GETTOKEN] == 1  # the one it saw last
    server.start()
    time.sleep(1.1)  # until Redis is tried again
    assert wecom().list_follow_staff()
    assert simulator.corp.calls[GETTOKEN] == 2


def test_wrong_credentials_are_not_asked_for_again_and_again_without_redis(simulator, settings, valkey_server):
    server = valkey_server()
    settings.REDIS_URL, settings.WXWORK_SECRET = server.url, "wrong"
    server.stop()
    for _ in range(4):
        with pytest.raises(ConfigError) as caught:
            wecom().list_follow_staff()
        assert caught.value.code == 40001
    assert simulator.corp.calls[GETTOKEN] == 1


def test_a_limit_on_gettoken_is_waited_for(simulator, redis_client):
    simulator.faults(GETTOKEN, errcode=45009, times=None)
    for _ in range(3):
        with pytest.raises(LimitedError) as caught:
            wecom().list_follow_staff()
        assert 55 < caught.value.retry_after_seconds <= 60
    assert simulator.corp.calls[GETTOKEN] == 1


def test_a_token_with_a_short_life_is_not_fetched_every_second(simulator, redis_client):
    simulator.act("set_behaviour", token_seconds=120)
    tokens.get(tokens.credential())
    assert 55_000 < redis_client.pttl(KEY) <= 60_000


def test_a_child_that_is_forked_does_not_inherit_a_lock(simulator):
    grant = tokens.grant_of(tokens.credential())
    with grant._local().lock:
        pid = os.fork()
        if pid == 0:
            os._exit(int(grant._local().lock.locked()))
        assert os.waitpid(pid, 0)[1] == 0


def test_a_child_that_is_forked_in_the_middle_of_everything_makes_a_call_of_its_own(simulator):
    assert wecom().list_follow_staff()  # so there are connections to inherit
    cache = redis_client_of_the_product()
    with cache._permits._lock, cache.redis.connection_pool._lock, cache.breaker._lock:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # pytest-timeout has its own
            signal.alarm(10)  # a deadlock is the end of it
            os._exit(0 if wecom().list_follow_staff() else 1)
        assert os.waitpid(pid, 0)[1] == 0
    assert wecom().list_follow_staff()
