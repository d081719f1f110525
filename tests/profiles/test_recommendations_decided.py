"""Accepting, dismissing, undoing; what is shown as over before a run says so; feedback."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import connections

from customers.erasure import request_erasure, run_erasure
from customers.models import Audit
from customers.moves import move_customer
from profiles.models import Recommendation, RecommendationRule
from profiles.recommendations import feedback, rules
from profiles.recommendations.deciding import AlreadyDecidedError, NotOpenError, decide, may_undo, undo
from profiles.recommendations.reading import Asked, list_all, list_by_score, list_customers, list_open
from scrm import held
from tests.profiles.behaviours import item, record
from tests.profiles.recommending import BUYERS, only_rule, people, rule, states, stored, suggest

NOW = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)

pytestmark = pytest.mark.usefixtures("clean_databases")


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOW, tick=False) as clock:
        held.forget_all()
        yield clock


def counts(made: RecommendationRule) -> tuple[int, int]:
    made.refresh_from_db()
    return made.accepted, made.dismissed


@pytest.fixture
def one(clock: time_machine.Traveller) -> Recommendation:
    """An open suggestion about wmA."""
    people("wmA")
    only_rule()
    suggest()
    return stored()[0]


def choose(one: Recommendation, state: str, by: str = "admin", note: str = "") -> str:
    found = decide(one.customer_id, one.recommendation_id, state, by=by, external_userid="wmA", note=note)
    assert found is not None
    return found.state


def test_a_decision_is_kept_with_who_when_and_why_and_counts_once(one: Recommendation) -> None:
    assert choose(one, "accepted", note="已电话联系") == "accepted"
    assert choose(one, "accepted", by="other", note="又一次") == "accepted"
    (kept,) = stored()
    assert (kept.state, kept.decided_at, kept.decided_by, kept.note) == ("accepted", NOW, "admin", "已电话联系")
    assert counts(RecommendationRule.objects.get()) == (1, 0)
    assert list(Audit.objects.values_list("actor", "action")) == [("admin", "accept_recommendation")]
    assert list_open(one.customer_id) == []


def test_who_decides_otherwise_is_told(one: Recommendation) -> None:
    choose(one, "dismissed")
    with pytest.raises(AlreadyDecidedError) as caught:
        choose(one, "accepted")
    assert caught.value.suggestion.state == "dismissed"
    assert counts(RecommendationRule.objects.get()) == (0, 1)


def test_of_two_at_once_one_wins(one: Recommendation) -> None:
    outcomes: list[str] = []
    together = threading.Barrier(8)

    def work(state: str) -> None:
        try:
            together.wait()
            outcomes.append(choose(one, state, by=state))
        except AlreadyDecidedError:
            outcomes.append("told")
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=(("accepted", "dismissed")[n % 2],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winner = stored()[0].state
    assert sorted(outcomes) == sorted([winner] * 4 + ["told"] * 4)
    assert sum(counts(RecommendationRule.objects.get())) == 1


def test_what_has_expired_cannot_be_decided(one: Recommendation, clock: time_machine.Traveller) -> None:
    clock.shift(timedelta(days=14))
    assert [one.state for one in list_all(one.customer_id)] == ["expired"]
    with pytest.raises(NotOpenError) as caught:
        choose(one, "accepted")
    assert caught.value.suggestion.state == "expired"
    assert stored()[0].state == "open"  # the next run says it in the row


def test_undone_within_ten_minutes(one: Recommendation, clock: time_machine.Traveller) -> None:
    choose(one, "dismissed", note="不合适")
    clock.shift(timedelta(minutes=9, seconds=59))
    assert may_undo(list_all(one.customer_id)[0])
    found = undo(one.customer_id, one.recommendation_id, by="admin", external_userid="wmA")
    assert found is not None
    assert (found.state, found.decided_at, found.decided_by, found.note) == ("open", None, "", "")
    assert counts(RecommendationRule.objects.get()) == (0, 0)
    choose(one, "accepted")
    clock.shift(timedelta(minutes=10))
    assert not may_undo(list_all(one.customer_id)[0])
    again = undo(one.customer_id, one.recommendation_id, by="admin", external_userid="wmA")
    assert again is not None
    assert again.state == "accepted"
    assert counts(RecommendationRule.objects.get()) == (1, 0)


def test_while_a_decision_may_be_undone_its_rule_rests_also_without_a_cooldown(clock: time_machine.Traveller) -> None:
    people("wmA")
    only_rule(cooldown_days=0, expires_days=30)
    suggest()
    first = stored()[0]
    clock.move_to(datetime(2026, 11, 25, 15, 55, tzinfo=UTC))
    choose(first, "dismissed")
    clock.shift(timedelta(minutes=8))  # past midnight in Shanghai
    assert suggest() == 0
    found = undo(first.customer_id, first.recommendation_id, by="admin", external_userid="wmA")
    assert found is not None
    assert found.state == "open"
    choose(first, "dismissed")
    clock.shift(timedelta(minutes=10))
    assert suggest() == 1
    assert states(first.customer_id) == ["dismissed", "open"]


def test_a_purchase_ends_a_win_back_at_once(clock: time_machine.Traveller) -> None:
    (customer_id,) = people("wmA")
    record(item("e1", occurred_at="2026-08-01T12:00:00+08:00"), now=NOW)
    only_rule(name="召回", action="win_back", groups=BUYERS)
    rule("感谢", groups=BUYERS)
    suggest()
    assert {one.action for one in list_open(customer_id)} == {"win_back", "thank"}
    record(item("i1", kind="interaction", occurred_at="2026-11-25T10:00:00+08:00"), now=NOW)
    assert {one.action for one in list_open(customer_id)} == {"win_back", "thank"}
    record(item("e2", occurred_at="2026-11-24T20:00:00+08:00"), now=NOW)  # reported late
    assert [one.action for one in list_open(customer_id)] == ["thank"]
    win_back = stored(action="win_back")[0]
    with pytest.raises(NotOpenError):
        choose(win_back, "accepted")
    assert [one.action for one in list_by_score(Asked()).items] == ["thank"]


def test_a_rule_that_is_turned_off_takes_its_suggestions_away_at_once(one: Recommendation) -> None:
    rules.set_active(one.rule_id, is_active=False)
    assert list_open(one.customer_id) == []
    assert list_by_score(Asked()).items == []
    rules.set_active(one.rule_id, is_active=True)
    assert len(list_open(one.customer_id)) == 1


def test_the_best_comes_first_over_all_homes() -> None:
    people("wmA", "wmB", home=100)
    people("wmC", home=101)
    only_rule(name="低", base_score=20)
    rule("高", base_score=90)
    suggest()
    seen, after = [], None
    while True:
        page = list_by_score(Asked(), after=after, limit=2)
        seen += [(one.score, one.external_userid) for one in page.items]
        after = page.after
        if after is None:
            break
    assert seen == [(score, name) for score in (90, 20) for name in ("wmA", "wmB", "wmC")]
    assert [one.external_userid for one in list_by_score(Asked(home=101)).items] == ["wmC", "wmC"]
    assert [one.score for one in list_by_score(Asked(action="win_back")).items] == []


def test_the_list_by_customer_has_all_of_each() -> None:
    people("wmA", "wmB", home=100)
    people("wmC", home=101)
    only_rule(name="低", base_score=20)
    rule("高", base_score=90, action="win_back")
    suggest()
    page = list_customers(Asked(), limit=2)
    assert [[one.score for one in customer.suggestions] for customer in page.items] == [[90, 20], [90, 20]]
    rest = list_customers(Asked(), limit=2, position=page.position)
    assert [one.suggestions[0].external_userid for one in rest.items] == ["wmC"]
    assert rest.position is None
    only = list_customers(Asked(action="win_back")).items
    assert [[one.action for one in customer.suggestions] for customer in only] == [["win_back"]] * 3


def test_staff_see_what_is_about_those_they_follow() -> None:
    people("wmA", staff="zhang")
    people("wmB", staff="li")
    only_rule()
    suggest()
    (found,) = list_by_score(Asked(staff="zhang")).items
    assert (found.external_userid, found.staff) == ("wmA", ("zhang",))


def test_a_run_counts_decisions_anew(one: Recommendation) -> None:
    choose(one, "accepted")
    made = RecommendationRule.objects.get()
    RecommendationRule.objects.update(accepted=7, dismissed=3)
    assert feedback.recount() == []
    assert counts(made) == (1, 0)


def test_erasure_and_moves_take_suggestions_along(one: Recommendation) -> None:
    choose(one, "dismissed", note="不合适")
    moved = move_customer("wmA", 101, actor="test")
    (kept,) = stored()
    assert (kept.customer_id, kept.state, kept.note) == (moved, "dismissed", "不合适")
    assert suggest() == 0  # cooling down at the new address, too
    assert run_erasure(request_erasure("wmA", actor="test").id).state == "done"
    assert stored() == []
