"""Cursors: what was given comes back, and nothing else is taken."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrm.api.cursors import decode, encode
from scrm.api.problems import BadCursorError
from scrm.sharding.ids import MAX_HOME, PER_HOME, make

HOMES = st.integers(1, MAX_HOME)


@st.composite
def positions(draw: st.DrawFn) -> dict[int, int | None]:
    numbers = st.none() | st.just(0) | st.integers(1, PER_HOME - 1)
    drawn = draw(st.dictionaries(HOMES, numbers, max_size=12))
    return {home: make(home, n) if n else n for home, n in drawn.items()}


FILTERS = st.dictionaries(
    st.sampled_from(["home", "q", "tag"]), st.none() | st.integers(0, 9) | st.text(max_size=5).filter(str.isprintable)
)


@given(positions(), FILTERS)
def test_a_cursor_comes_back_as_the_position_it_was_made_of(position: dict[int, int | None], filters: dict) -> None:
    text = encode(position, filters)
    assert text.isascii()
    assert base64.urlsafe_b64decode(text + "==")[:1] == b"\x01"
    assert decode(text, filters) == position


def test_the_example_of_the_module() -> None:
    assert encode({100: None, 101: 1010000000042}, {}) == "AU59cIa1NGQAASvH-q0q"


@given(positions(), FILTERS, FILTERS)
def test_a_cursor_belongs_to_its_filters(position: dict[int, int | None], filters: dict, others: dict) -> None:
    text = encode(position, filters)

    def told(values: dict) -> dict:
        return {name: value for name, value in values.items() if value is not None}

    if told(filters) == told(others):
        assert decode(text, others) == position
    else:
        with pytest.raises(BadCursorError, match="other filters"):
            decode(text, others)


@given(st.text(max_size=60) | st.text(alphabet="ABCabc019-_=", max_size=60))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(BadCursorError):
        decode(text, {})


@given(positions(), st.data())
def test_a_mangled_cursor_is_refused(position: dict[int, int | None], data: st.DataObject) -> None:
    text = encode(position, {})
    place = data.draw(st.integers(0, len(text) - 1))
    for mangled in (text[:place], text[:place] + "!" + text[place + 1 :], text + "A", text + "=", " " + text):
        with pytest.raises(BadCursorError):
            decode(mangled, {})


@given(st.binary(max_size=30))
def test_a_body_that_checks_and_means_nothing_is_refused_or_a_position(tail: bytes) -> None:
    """Whoever reads the source can make up the digests; what they then ask for is still only a position."""
    from scrm.api.cursors import _check, _digest_of

    body = b"\x01" + _digest_of({}) + tail
    text = base64.urlsafe_b64encode(body + _check(body)).rstrip(b"=").decode()
    try:
        found = decode(text, {})
    except BadCursorError:
        return
    assert decode(encode(found, {}), {}) == found


def test_a_cursor_of_more_than_a_url_holds_is_refused() -> None:
    with pytest.raises(BadCursorError):
        decode("A" * 8_001, {})
    thousand = {home: None if home < 900 else 0 for home in range(1, 1_001)}
    assert len(encode(thousand, {})) < 3_000


def test_a_place_in_another_home_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="no customer of home 101"):
        encode({101: 1000000000042}, {})
