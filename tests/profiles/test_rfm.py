"""RFM: the definition by places against the thresholds that say the same, and what must hold of any base."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles import rfm

values = st.lists(st.integers(-50, 50) | st.integers(-(2**50), 2**50), min_size=1, max_size=60)


def by_definition(one: int, everybody: list[int]) -> int:
    """1 + floor(5 x (smaller + half of the equal) / all), in whole numbers."""
    twice = 2 * sum(other < one for other in everybody) + sum(other == one for other in everybody)
    return 1 + 5 * twice // (2 * len(everybody))


def scored(everybody: list[int], *, fewer_is_better: bool = False) -> list[int]:
    limits = rfm.thresholds(Counter(everybody), fewer_is_better=fewer_is_better)
    return rfm.scores(np.array(everybody, dtype=np.int64), limits, fewer_is_better=fewer_is_better).tolist()


@given(values)
def test_thresholds_say_what_the_definition_says(everybody: list[int]) -> None:
    assert scored(everybody) == [by_definition(one, everybody) for one in everybody]


@given(values)
def test_fewer_is_better_is_the_same_of_what_is_turned_round(everybody: list[int]) -> None:
    assert scored(everybody, fewer_is_better=True) == scored([-one for one in everybody])


@given(values, st.randoms())
def test_equal_values_have_equal_scores_whatever_the_order(everybody: list[int], random) -> None:  # type: ignore[no-untyped-def]
    found = dict(zip(everybody, scored(everybody), strict=True))
    mixed = everybody[:]
    random.shuffle(mixed)
    assert dict(zip(mixed, scored(mixed), strict=True)) == found
    ordered = sorted(found)
    assert [found[one] for one in ordered] == sorted(found.values())
    # A base of twice the same is scored the same.
    assert scored(everybody * 2)[: len(everybody)] == scored(everybody)


@given(values)
def test_the_larger_base_of_distinct_values_has_fifths(everybody: list[int]) -> None:
    everybody = sorted(set(everybody))
    counts = Counter(scored(everybody))
    assert max(counts.values()) - min(counts[score] for score in range(1, 6)) <= 1


@pytest.mark.parametrize(
    ("everybody", "scores"),
    [
        ([7], [3]),
        ([7, 7, 7], [3, 3, 3]),
        ([1, 2], [2, 4]),
        ([1, 2, 3], [1, 3, 5]),
        ([1, 1, 1, 2, 9], [2, 2, 2, 4, 5]),  # the docstring's
        ([10, 20, 30, 40, 50], [1, 2, 3, 4, 5]),
        # Most have bought once, as they do: no quintile lies within them.
        ([1] * 60 + [2] * 20 + [3] * 15 + [30] * 5, [2] * 60 + [4] * 20 + [5] * 20),
    ],
)
def test_small_bases_and_ties(everybody: list[int], scores: list[int]) -> None:
    assert scored(everybody) == scores


def test_nobody() -> None:
    assert rfm.thresholds({}) == [None, None, None, None]
    assert rfm.scores(np.array([1, 2]), [None] * 4).tolist() == [1, 1]


def test_segments_are_told_by_what_is_high() -> None:
    assert len(set(rfm.SEGMENT_NAMES)) == 8
    triples = [(r, f, m) for r in range(1, 6) for f in range(1, 6) for m in range(1, 6)]
    columns = [np.array(column) for column in zip(*triples, strict=True)]
    found = [rfm.BY_BITS[place] for place in rfm.segments(*columns).tolist()]
    assert found == [rfm.segment(*triple) for triple in triples]
    assert Counter(found) == {
        "重要价值客户": 8, "重要发展客户": 12, "重要保持客户": 12, "重要挽留客户": 18,
        "一般价值客户": 12, "一般发展客户": 18, "一般保持客户": 18, "一般挽留客户": 27,
    }  # fmt: skip


@given(st.lists(st.none() | st.integers(-(10**12), 10**12), min_size=4, max_size=4), st.integers(0, 10**9))
def test_thresholds_are_kept_as_json(monetary: list[int | None], customers: int) -> None:
    limits = rfm.Thresholds((3, 2, None, None), (1, 1, 2, 3), tuple(monetary), customers)
    assert rfm.Thresholds.from_json(limits.to_json()) == limits
