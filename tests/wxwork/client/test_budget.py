"""The budget: how fast, what blocks whom, what every process knows, and without Redis."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import structlog.testing

from tests.wxwork.client.conftest import result_of
from wxwork import budget
from wxwork.budget import scripts, shares, turn
from wxwork.budget.alone import Alone
from wxwork.client import wecom
from wxwork.errors import DataError, LimitedError, RetryError, error_for
from wxwork.pacing import Limits, Rule

CORP = "wwsimulator"
API, OTHER = "/cgi-bin/externalcontact/get", "/cgi-bin/user/get"
STATE = f"wecom:budget:{CORP}:{API}"
FOLLOW = "/cgi-bin/externalcontact/get_follow_user_list"
DEPARTMENTS = "/cgi-bin/department/list"


def call(api=API, *, patience=0.0, raises=None, relation="", lease_seconds=40.0):
    with turn(CORP, api, deadline=time.monotonic() + patience, relation=relation, lease_seconds=lease_seconds):
        if raises is not None:
            raise raises


def refused(code, api=API):
    error = error_for(code, "", api)
    with pytest.raises(type(error)) as caught:
        call(api, raises=error)
    return caught.value


@pytest.fixture
def small(settings):
    """Ten calls a minute, of which two at once; blocks of half a second."""
    settings.WXWORK_CALLS_PER_MINUTE, settings.WXWORK_BLOCK_SECONDS = 10, 0.5
    return settings


# -------------------------------------------------------------------------------------------------------------- pacing
def test_a_bucket_lets_a_burst_go_and_then_one_at_a_time():
    rule = Rule(10, 60.0)
    at, times, now = 0.0, [], 0.0
    while len(times) < 12:
        wait = rule.wait_seconds(at, now)
        if wait:
            now += wait
            continue
        times.append(now)
        at = rule.after_call(at, now)
    assert times == [0.0, 0.0, *(7.5 * number for number in range(1, 11))]
    assert all(later - earlier >= 60.0 for earlier, later in zip(times, times[10:], strict=False))


@pytest.mark.parametrize("calls", [1, 2, 9, 100, 5_000])
def test_no_window_holds_more_calls_than_the_rule_says(calls):
    rule = Rule(calls, 60.0)
    at, times, now = 0.0, [], 0.0
    while len(times) < 3 * calls + 2:
        now += rule.wait_seconds(at, now)
        times.append(now)
        at = rule.after_call(at, now)
    for first in range(len(times) - calls):
        assert times[first + calls] - times[first] > 59.99


def test_defaults_keep_below_wecoms_limits(settings):
    limits = budget.limits()
    assert limits.per_minute <= 10_000 * 0.5
    assert limits.per_hour <= 150_000 * 0.8
    assert limits.at_once <= 10


# ----------------------------------------------------------------------------------------------------------- the rules
def test_calls_beyond_the_burst_wait_or_are_refused_with_the_time_to_wait(small):
    call()
    call()
    with pytest.raises(LimitedError) as caught:
        call()
    assert 7.0 < caught.value.retry_after_seconds <= 7.5
    assert caught.value.code is None
    assert API in str(caught.value)
    call(OTHER)  # other APIs are not affected


def test_a_call_waits_within_its_patience(settings):
    settings.WXWORK_CALLS_PER_MINUTE = 600  # a burst of 120, then one each eighth of a second
    began = time.monotonic()
    for _ in range(122):
        call(patience=5)
    assert 0.2 < time.monotonic() - began < 2.5


def test_what_is_known_to_take_too_long_is_refused_at_once(small):
    call()
    call()
    began = time.monotonic()
    with pytest.raises(LimitedError):
        call(patience=3)
    assert time.monotonic() - began < 0.3


def test_the_hour_has_its_own_rule(settings):
    settings.WXWORK_CALLS_PER_HOUR = 10
    call()
    call()
    with pytest.raises(LimitedError) as caught:
        call()
    assert 440 < caught.value.retry_after_seconds <= 450


def test_usage_tells_used_left_and_next_free(small):
    call()
    call()
    call(OTHER)
    found = budget.usage()
    assert sorted(found) == [API, OTHER]
    one = found[API]
    assert (one.minute_used, one.minute_left, one.hour_used, one.hour_left) == (2, 8, 2, 119_998)
    assert (one.under_way, one.at_once, one.open_seconds, one.is_shared) == (0, 8, 0.0, True)
    assert 7.0 < one.next_free_seconds <= 7.5
    assert found[OTHER].next_free_seconds == 0.0
    assert budget.usage("another corp") == {}


def test_old_counts_leave_the_state(redis_client):
    redis_client.hset(STATE, mapping={"M1": 900, "H1": 900})
    call()
    assert sorted(name[:1] for name in redis_client.hkeys(STATE)) == [b"H", b"M", b"h", b"m"]
    assert budget.usage()[API].hour_used == 1
    assert 7_000 < redis_client.ttl(STATE) <= 7_200


def test_a_clock_that_was_ahead_holds_nobody_back_for_long(small, redis_client):
    redis_client.hset(STATE, mapping={"m": (time.time() + 86_400) * 1000, "h": (time.time() + 86_400) * 1000})
    with pytest.raises(LimitedError) as caught:
        call()
    assert caught.value.retry_after_seconds < 60


def test_a_clock_that_was_ahead_keeps_no_circuit_open(redis_client):
    tomorrow = (time.time() + 86_400) * 1000
    state = {"open_until": tomorrow + 60_000, "opened_at": tomorrow, "strikes": 1, "cap": 2, "cut_at": tomorrow}
    redis_client.hset(STATE, mapping=state)
    call()
    found = budget.usage()[API]
    assert (found.open_seconds, found.at_once) == (0.0, 8)
    assert redis_client.hget(STATE, "strikes") is None
    redis_client.hset(STATE, mapping={"opened_at": tomorrow, "cut_at": tomorrow})
    assert refused(45009).retry_after_seconds == 60
    redis_client.hset(STATE, "open_until", 0)
    refused(45033)
    assert budget.usage()[API].at_once == 4


def test_a_large_sync_can_say_how_long_it_takes(settings):
    assert budget.expected_seconds(0, API) == 0
    assert budget.expected_seconds(1_000, API) == pytest.approx(1_000 * 0.25 / 8)
    assert budget.expected_seconds(50_000, API) == pytest.approx(50_000 * 0.25 / 8)
    settings.WXWORK_CALLS_PER_MINUTE = 600
    assert budget.expected_seconds(6_000, API) == pytest.approx((6_000 - 120) * 0.125)
    refused(45009)
    assert budget.expected_seconds(10, API) == pytest.approx(60 + 10 * 0.25 / 8, abs=1)


# ------------------------------------------------------------------------------------------------------------- circuit
def test_after_45009_nobody_calls_this_api_for_a_minute_and_others_go_on(redis_client):
    error = refused(45009)
    assert error.retry_after_seconds == 60
    began = time.monotonic()
    with pytest.raises(LimitedError) as caught:
        call(patience=30)
    assert time.monotonic() - began < 0.3
    assert 59 < caught.value.retry_after_seconds <= 60
    call(OTHER)
    found = budget.usage()[API]
    assert 59 < found.open_seconds <= 60
    assert (found.why, found.next_free_seconds) == ("minute", found.open_seconds)
    assert redis_client.ttl(STATE) > 3600


def test_calls_that_were_under_way_are_the_same_blow(small):
    begun, go = threading.Barrier(4), threading.Event()

    def under_way():
        error = error_for(45009, "", API)

        def wait_and_fail():
            with turn(CORP, API, deadline=time.monotonic() + 5):
                begun.wait(5)
                go.wait(5)
                raise error

        with pytest.raises(LimitedError):
            wait_and_fail()

    small.WXWORK_CALLS_PER_MINUTE = 5_000
    threads = [threading.Thread(target=under_way) for _ in range(3)]
    for thread in threads:
        thread.start()
    begun.wait(5)
    go.set()
    for thread in threads:
        thread.join()
    found = budget.usage()[API]
    assert found.why == "minute"
    assert 0 < found.open_seconds <= 0.5


def test_a_block_that_is_over_is_tried_by_one_call_first(small, redis_client):
    small.WXWORK_CALLS_PER_MINUTE = 5_000
    refused(45009)
    time.sleep(0.55)
    with turn(CORP, API, deadline=time.monotonic()), pytest.raises(LimitedError):
        call()
    call()
    with turn(CORP, API, deadline=time.monotonic()):
        call()  # the trial went well: as many as before
    assert redis_client.hget(STATE, "strikes") is None


def test_blocks_that_follow_each_other_become_those_of_the_hour_and_of_the_day(small, redis_client):
    small.WXWORK_CALLS_PER_MINUTE = 5_000
    waits = []
    for _ in range(5):
        waits.append(refused(45009).retry_after_seconds)
        redis_client.hset(STATE, "open_until", 0)  # it is over
    assert waits[:4] == [0.5, 0.5, 30, 30]
    assert waits[4] >= 30
    assert 0 < waits[4] <= 86_400
    redis_client.hset(STATE, "open_until", 0)
    call()
    assert refused(45009).retry_after_seconds == 0.5


def test_a_full_hour_of_our_own_calls_is_the_hours_rule(small, redis_client):
    small.WXWORK_CALLS_PER_MINUTE = 5_000
    call()
    redis_client.hset(STATE, f"H{int(time.time() * 1000) // scripts.HOUR_SLICE_MS - 3}", 108_000)
    assert refused(45009).retry_after_seconds == 30
    assert budget.usage()[API].why == "hour"


def test_45009_of_one_api_in_the_simulator_stops_this_one_in_all_processes(simulator, settings, start_process):
    simulator.faults(FOLLOW, errcode=45009, times=1)
    with pytest.raises(LimitedError) as caught:
        wecom().list_follow_staff()
    assert caught.value.code == 45009
    assert caught.value.retry_after_seconds == 60
    code = """
import json
from wxwork.client import wecom
from wxwork.errors import LimitedError
departments = len(wecom().list_departments())
try:
    wecom().list_follow_staff()
except LimitedError as error:
    print(json.dumps([departments > 0, error.retry_after_seconds]))
"""
    others_go_on, seconds = result_of(start_process(code))
    assert others_go_on
    assert 40 < seconds <= 60
    assert simulator.corp.calls[FOLLOW] == 1


def test_who_has_patience_waits_for_the_end_of_the_block_and_gets_the_answer(simulator, settings):
    settings.WXWORK_BLOCK_SECONDS = 0.6
    simulator.faults(FOLLOW, errcode=45009, times=1)
    began = time.monotonic()
    assert wecom(patience_seconds=10).list_follow_staff()
    assert 0.6 < time.monotonic() - began < 3
    assert simulator.corp.calls[FOLLOW] == 2


def test_wecoms_own_limit_is_met_by_waiting(simulator, settings):
    settings.WXWORK_BLOCK_SECONDS = 0.5
    simulator.act("set_limits", path=FOLLOW, per_minute=3)
    simulator.act("set_limits", minute_block_seconds=0.4)
    client = wecom(patience_seconds=20)
    assert len([client.list_follow_staff() for _ in range(8)]) == 8


# --------------------------------------------------------------------------------------------------------- concurrency
def test_no_more_calls_at_once_than_set(settings):
    settings.WXWORK_CALLS_AT_ONCE = 3
    running, most, lock = 0, 0, threading.Lock()

    def one(_):
        nonlocal running, most
        with turn(CORP, API, deadline=time.monotonic() + 20):
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.02)
            with lock:
                running -= 1

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(one, range(36)))
    assert most == 3
    assert budget.usage()[API].under_way == 0


def test_45033_halves_how_many_at_once_and_time_brings_them_back(redis_client):
    assert isinstance(refused(45033), RetryError)
    assert budget.usage()[API].at_once == 4
    refused(45033)
    refused(45033)
    refused(45033)
    assert budget.usage()[API].at_once == 1  # and not less
    redis_client.hset(STATE, "cut_at", int((time.time() - 16) * 1000))
    assert budget.usage()[API].at_once == 4
    redis_client.hset(STATE, "cut_at", int((time.time() - 600) * 1000))
    assert budget.usage()[API].at_once == 8


def test_45033_of_calls_that_were_under_way_together_halves_once():
    places = [shares._acquire(CORP, API, 40.0, "")[0] for _ in range(4)]
    for place in places:
        shares._release(CORP, API, place, "crowded", "")
    assert budget.usage()[API].at_once == 4


def test_45033_in_the_simulator_is_tried_again_with_fewer_at_once(simulator):
    wecom().list_follow_staff()
    simulator.faults(FOLLOW, errcode=45033, times=1)
    assert wecom().list_follow_staff()
    assert simulator.corp.calls[FOLLOW] == 3
    assert budget.usage()[FOLLOW].at_once == 4
    assert DEPARTMENTS not in budget.usage()


def test_a_crowd_gets_through_a_narrow_door(simulator):
    simulator.act("set_limits", path=FOLLOW, concurrency=2)
    simulator.faults(FOLLOW, latency_seconds=0.02, times=None)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: len(wecom(patience_seconds=30).list_follow_staff()), range(24)))
    assert len(found) == 24


def test_a_process_that_dies_in_a_call_gives_its_place_back_when_the_call_must_be_over(start_process, settings):
    settings.WXWORK_CALLS_AT_ONCE = 1
    code = f"""
import time
from wxwork.budget import turn
with turn({CORP!r}, {API!r}, deadline=time.monotonic(), lease_seconds=1.2, relation="a/b"):
    print("in", flush=True)
    time.sleep(60)
"""
    process = start_process(code, WXWORK_CALLS_AT_ONCE=1)
    assert process.stdout.readline() == "in\n"
    process.kill()
    with pytest.raises(LimitedError):
        call()
    call(patience=5, relation="a/b")


def test_one_write_at_a_time_on_a_relation(redis_client):
    with turn(CORP, API, deadline=time.monotonic(), relation="zhang/wm1"):
        with pytest.raises(LimitedError, match="writing"):
            call(OTHER, relation="zhang/wm1")
        call(relation="zhang/wm2")
        call()  # reads do not mind
    call(OTHER, relation="zhang/wm1")
    assert not [key for key in redis_client.keys("*") if b"relation" in key or key.endswith(b":now")]


def test_what_goes_wrong_in_a_call_passes_and_its_place_is_given_back():
    for error in (DataError("x", code=84061), RetryError("x"), KeyError("x"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            call(raises=error)
    assert budget.usage()[API].under_way == 0
    assert budget.usage()[API].minute_used == 4


# ---------------------------------------------------------------------------------------------------- processes, Redis
def test_four_processes_together_keep_to_the_rule(start_process, settings):
    code = f"""
import json, time
from wxwork.budget import turn
from wxwork.errors import LimitedError
done = 0
for _ in range(40):
    try:
        with turn({CORP!r}, {API!r}, deadline=time.monotonic()):
            done += 1
    except LimitedError:
        pass
print(json.dumps(done))
"""
    processes = [start_process(code, WXWORK_CALLS_PER_MINUTE=50, WXWORK_CALLS_AT_ONCE=100) for _ in range(4)]
    done = [result_of(process) for process in processes]
    settings.WXWORK_CALLS_PER_MINUTE = 50
    assert 10 <= sum(done) <= 20  # a burst of ten, and one for each second and a half that it took
    assert budget.usage()[API].minute_used == sum(done)


def test_without_redis_a_process_keeps_to_its_part_and_says_so_once(settings, valkey_server):
    server = valkey_server()
    settings.REDIS_URL = server.url
    settings.WXWORK_CALLS_PER_MINUTE = 160
    call()
    server.stop()
    with structlog.testing.capture_logs() as logs:
        call()
        call()
        with pytest.raises(LimitedError) as caught:
            call()
    assert 7.0 < caught.value.retry_after_seconds <= 7.5
    assert [line["event"] for line in logs if line["event"].startswith("wecom")] == ["wecom_budget_alone"]
    found = budget.usage()[API]
    assert (found.is_shared, found.under_way) == (False, 0)
    server.start()
    time.sleep(1.1)
    with structlog.testing.capture_logs() as logs:
        call()
    assert [line["event"] for line in logs] == ["cache_answers_again", "wecom_budget_shared_again"]
    assert budget.usage()[API].is_shared


def test_a_block_that_was_known_holds_without_redis_too(settings, valkey_server):
    server = valkey_server()
    settings.REDIS_URL = server.url
    refused(45009)
    server.stop()
    with pytest.raises(LimitedError) as caught:
        call()
    assert 55 < caught.value.retry_after_seconds <= 60
    call(OTHER)
    assert refused(45009, OTHER).retry_after_seconds == 60
    with pytest.raises(LimitedError):
        call(OTHER)


def test_redis_that_goes_away_during_a_call_loses_nothing_but_its_place(settings, valkey_server):
    server = valkey_server()
    settings.REDIS_URL = server.url
    with turn(CORP, API, deadline=time.monotonic()):
        server.stop()
    server.start()
    time.sleep(1.1)
    call()


def test_alone_counts_calls_under_way():
    now = 0.0
    alone, limits = Alone(lambda: now), Limits(600, 6_000, 2, 60.0)
    assert [alone.acquire(API, limits) for _ in range(2)] == [0.0, 0.0]
    assert alone.acquire(API, limits) == 0.02
    alone.release(API)
    assert alone.acquire(API, limits) == 0.0
    alone.block(OTHER, 5.0, "minute")
    assert alone.acquire(OTHER, limits) == 5.0
    now = 6.0
    assert alone.acquire(OTHER, limits) == 0.0


def test_figures_are_json_for_whoever_shows_them(small):
    call()
    assert json.loads(json.dumps(vars(budget.usage()[API])))["minute_used"] == 1
