"""Scores, wording, matching and merging, without a database."""

import doctest
from collections import Counter
from importlib import import_module
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles.recommendations.cooccurrence import HomeCounts, merge
from profiles.recommendations.matching import make_table, match
from profiles.recommendations.scoring import acceptance_rate, score
from profiles.recommendations.wording import read
from profiles.rules import RuleError

MODULES = ("cooccurrence", "matching", "scoring", "wording")
counts = st.integers(0, 10**7)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert doctest.testmod(import_module(f"profiles.recommendations.{name}")).failed == 0


def test_the_table_of_scores_is_as_computed() -> None:
    text = import_module("profiles.recommendations.scoring").__doc__
    rows = [[cell.strip() for cell in line.strip("| \n").split("|")] for line in text.splitlines() if line[:1] == "|"]
    assert len(rows) == 9
    for base, accepted, dismissed, rate, monetary, similarity, wanted in rows[2:]:
        found = acceptance_rate(int(accepted), int(dismissed))
        assert found == float(rate)
        fit = float(similarity) if similarity else None
        assert score(int(base), found, monetary=int(monetary), similarity=fit) == int(wanted)


@given(counts, counts, counts)
def test_a_rate_rises_with_acceptances_and_falls_with_dismissals(accepted: int, dismissed: int, more: int) -> None:
    rate = acceptance_rate(accepted, dismissed)
    assert 0.05 <= rate <= 0.95
    assert acceptance_rate(accepted + more, dismissed) >= rate
    assert acceptance_rate(accepted, dismissed + more) <= rate


@given(st.integers(1, 99), counts, counts, st.integers(0, 5), st.none() | st.floats(0, 1), st.integers(0, 98), counts)
def test_scores_lie_within_0_and_100_and_never_fall_where_they_should_rise(
    base: int, accepted: int, dismissed: int, monetary: int, similarity: float | None, higher: int, more: int
) -> None:
    rate = acceptance_rate(accepted, dismissed)
    found = score(base, rate, monetary=monetary, similarity=similarity)
    assert 0 <= found <= 100
    assert score(min(base + higher, 99), rate, monetary=monetary, similarity=similarity) >= found
    assert score(base, acceptance_rate(accepted + more, dismissed), monetary=monetary, similarity=similarity) >= found
    assert score(base, acceptance_rate(accepted, dismissed + more), monetary=monetary, similarity=similarity) <= found
    if monetary:
        assert score(base, rate, monetary=min(monetary + 1, 5), similarity=similarity) >= found
    if similarity is not None:
        assert score(base, rate, monetary=monetary, similarity=min(similarity + 0.1, 1)) >= found


@given(st.integers(1, 99))
def test_nobody_has_decided_and_the_base_is_the_score(base: int) -> None:
    assert score(base, acceptance_rate(0, 0)) == base


@pytest.mark.parametrize(
    "template",
    ["", "  ", "{", "}", "{{total_amount}}", "{tags}", "{followed_by}", "{total_amount[-3d]}", "{total_amount[0d]}",
     "{lifecycle[30d]}", "{days_since_last_purchase[30d]}", "换\n行", "x" * 201, "{0}", "{total_amount.real}"],
)  # fmt: skip
def test_wrong_reasons_are_refused_with_their_place(template: str) -> None:
    with pytest.raises(RuleError) as caught:
        read(template)
    assert caught.value.place == "reason"


def test_reasons_say_what_there_is() -> None:
    text = "{lifecycle}，买过 {purchase_count@store[30d]} 次，已 {days_since_last_purchase} 天；{items}因{because}"
    wording = read(text)
    assert [one.key for one in wording.figures] == ["lifecycle", "purchase_count@store[30d]", "last_purchase_day"]
    numbers = {"lifecycle": "dormant", "purchase_count@store[30d]": 3, "days_since_last_purchase": None}
    assert wording.write(numbers, items=["杯", "壶"], because="茶") == "沉睡，买过 3 次，已 多 天；杯、壶因茶"
    assert wording.write({}) == "—，买过 — 次，已 多 天；—因—"


# ------------------------------------------------------------------------------------------------- what goes together
baskets = st.lists(st.sets(st.sampled_from("abcdef"), max_size=6), max_size=30)


def counted(customers: list[set[str]]) -> HomeCounts:
    buyers = Counter(item for basket in customers for item in basket)
    pairs = Counter((one, two) for basket in customers for one in basket for two in basket if one < two)
    return HomeCounts(buyers, {item: item.upper() for item in buyers}, pairs)


@given(baskets, baskets)
def test_homes_merged_are_one_big_home(here: list[set[str]], there: list[set[str]]) -> None:
    both = merge([counted(here), counted(there)])
    assert both == merge([counted(there), counted(here)])
    assert both == merge([counted(here + there)])
    everybody = here + there
    for one in both:
        together = sum({one.item_id, one.other_id} <= basket for basket in everybody)
        sizes = [sum(item in basket for basket in everybody) for item in (one.item_id, one.other_id)]
        assert (one.together, one.score) == (together, round(together / sqrt(sizes[0] * sizes[1]), 4))
        assert together >= 3
        assert 0 < one.score <= 1
    assert max(Counter(one.item_id for one in both).values(), default=0) <= 5


@given(baskets, st.lists(st.sets(st.sampled_from("abcdef")), max_size=5))
def test_matches_are_those_of_one_customer_at_a_time(history: list[set[str]], customers: list[set[str]]) -> None:
    table = make_table(
        [(one.item_id, one.name, one.other_id, one.other_name, one.score) for one in merge([counted(history)])]
    )
    owned = [
        (row, table.items.index(item))
        for row, basket in enumerate(customers)
        for item in sorted(basket)
        if item in table.items
    ]
    rows, items = (np.array([pair[part] for pair in owned], dtype=np.int64) for part in (0, 1))
    found = match(table, rows, items)
    for row, basket in enumerate(customers):
        best: dict[str, float] = {}
        for one in merge([counted(history)]):
            if one.item_id in basket and one.other_id not in basket:
                best[one.other_id] = max(best.get(one.other_id, 0), one.score)
        wanted = sorted(best, key=lambda item: (-best[item], item))[:3]
        (start,), (stop,) = found.spans(np.array([row]))
        assert [table.items[item] for item in found.items[start:stop].tolist()] == wanted
    assert found.best(max(len(customers), 1)).max() == max(found.similarities, default=0)
