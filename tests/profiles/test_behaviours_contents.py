"""What a behaviour must look like. No database."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles.behaviours.contents import REASONS, Bounds, Contents, Rejection, read_contents
from profiles.vocabulary import CHANNELS, channel_names, read_channels

SHANGHAI = ZoneInfo("Asia/Shanghai")
BOUNDS = Bounds(datetime(1990, 1, 1, tzinfo=SHANGHAI), datetime(2026, 11, 25, tzinfo=SHANGHAI), frozenset(CHANNELS))
GOOD = {
    "event_id": "order-1",
    "external_userid": "wmAAA",
    "kind": "purchase",
    "channel": "store",
    "amount": "29.33",
    "occurred_at": "2026-11-01T09:30:00+08:00",
}


def read(bounds: Bounds = BOUNDS, **changes: Any) -> Contents | Rejection:
    return read_contents(7, {**GOOD, **changes}, bounds)


def kind_of(value: object) -> str:
    """Name a parameter; some of these have no text that could stand in a test's name."""
    return type(value).__name__


def code_of(**changes: Any) -> str | None:
    result = read(**changes)
    return result.code if isinstance(result, Rejection) else None


def test_a_good_one_is_read() -> None:
    contents = read(detail={"sku": "茶"}, refers_to="")
    assert isinstance(contents, Contents)
    assert contents[:9] == (
        7, "order-1", "wmAAA", "purchase", "store", Decimal("29.33"),
        datetime(2026, 11, 1, 1, 30, tzinfo=UTC), None, '{"sku":"茶"}',
    )  # fmt: skip


@pytest.mark.parametrize("item", [None, 5, "x", [], [GOOD], 1.5, True])
def test_what_is_no_object_is_refused(item: object) -> None:
    result = read_contents(3, item, BOUNDS)
    assert isinstance(result, Rejection)
    assert (result.index, result.code, result.message) == (3, "invalid_item", f"{REASONS['invalid_item']}.")


@pytest.mark.parametrize("missing", sorted(GOOD))
def test_every_field_of_a_purchase_is_required(missing: str) -> None:
    result = read_contents(0, {name: value for name, value in GOOD.items() if name != missing}, BOUNDS)
    assert isinstance(result, Rejection)
    assert missing in result.code or result.code in ("unknown_kind", "unknown_channel")


@pytest.mark.parametrize(
    "event_id",
    [None, "", 12, " a", "a ", "a\x00", "a\n", "\ud800", "x" * 129, "\u2028", ["a"], {"a": 1}, b"a", True, 10**500],
    ids=kind_of,
)
def test_bad_event_ids(event_id: object) -> None:
    assert code_of(event_id=event_id) == "invalid_event_id"


@pytest.mark.parametrize("event_id", ["x" * 128, "订单-1", "a b", "o'brien\"", "🙂", "wecom:add:zhang:wm:1"])
def test_good_event_ids(event_id: str) -> None:
    assert code_of(event_id=event_id) is None


@pytest.mark.parametrize(
    "external_userid", [None, "", "x" * 65, "x" * 10_240, "a\x00", "\udfff", 5, [], " a"], ids=kind_of
)
def test_bad_external_userids(external_userid: object) -> None:
    assert code_of(external_userid=external_userid) == "invalid_external_userid"


@pytest.mark.parametrize("kind", [None, "", "buy", "Purchase", 1, ["purchase"], {"purchase": 1}], ids=kind_of)
def test_unknown_kinds(kind: object) -> None:
    assert code_of(kind=kind) == "unknown_kind"


@pytest.mark.parametrize("channel", [None, "", "tmall", "Store", 1, ["store"], {}], ids=kind_of)
def test_unknown_channels(channel: object) -> None:
    assert code_of(channel=channel) == "unknown_channel"


@pytest.mark.parametrize(
    "amount",
    [
        *("nan", "inf", "-1", "+1", "1e2", "1e999", "1.234", "1,000", "０", "1_0", ".5", "5.", "10000000000.01", "x"),
        *(float("nan"), float("inf"), -0.01, 1.234, 1e11, -1, 10**10 + 1, 10**5000, -(10**5000)),
        *(Decimal("nan"), Decimal("snan"), Decimal("inf"), Decimal("1e-999999"), Decimal("1e999999"), Decimal("0.001")),
        *(True, [], {}, b"1"),
    ],
    ids=kind_of,
)
def test_bad_amounts(amount: object) -> None:
    assert code_of(amount=amount) == "invalid_amount"


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        ("0", "0.00"), ("29.3", "29.30"), ("10000000000", "10000000000.00"), (10**10, "10000000000.00"), (5, "5.00"),
        (0.1, "0.10"), (29.33, "29.33"), (-0.0, "0.00"), (Decimal("1.500"), "1.50"), ("00012.50", "12.50"),
    ],
)  # fmt: skip
def test_good_amounts(amount: object, expected: str) -> None:
    contents = read(amount=amount)
    assert isinstance(contents, Contents)
    assert str(contents.amount) == expected


@pytest.mark.parametrize(("kind", "expected"), [("interaction", Decimal("0.00")), ("refund", None)])
@pytest.mark.parametrize("amount", [None, ""])
def test_an_amount_may_be_left_out_of_what_is_no_purchase(kind: str, expected: Decimal | None, amount: object) -> None:
    contents = read(kind=kind, amount=amount, refers_to="order-0")
    assert isinstance(contents, Contents)
    assert contents.amount == expected
    assert code_of(amount=amount) == "invalid_amount"


@pytest.mark.parametrize(
    "occurred_at",
    [
        *(None, "", "yesterday", "2026-11-01T09:30:00", "2026-11-01", "0000-01-01T00:00:00Z", "2026-02-30T00:00:00Z"),
        *("2026-11-01T25:00:00+08:00", "2026-12-31T23:59:60Z", "2026-11-01T09:30:00+99:00", 1_700_000_000, 5.5, [], {}),
        *("二〇二六", "x" * 1000, datetime(2026, 11, 1), b"2026-11-01T00:00:00Z", True),
    ],
    ids=kind_of,
)
def test_bad_times(occurred_at: object) -> None:
    assert code_of(occurred_at=occurred_at) == "invalid_occurred_at"


@pytest.mark.parametrize(
    "occurred_at",
    [
        *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "1989-12-31T23:59:59+08:00"),
        *("2026-11-25T00:00:00+08:00", "2026-11-24T16:00:00Z", datetime.max.replace(tzinfo=UTC)),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=23))),
    ],
    ids=kind_of,
)
def test_times_out_of_range(occurred_at: object) -> None:
    assert code_of(occurred_at=occurred_at) == "occurred_at_out_of_range"


@pytest.mark.parametrize(
    ("occurred_at", "expected"),
    [
        ("1990-01-01T00:00:00+08:00", datetime(1989, 12, 31, 16, tzinfo=UTC)),
        ("2026-11-24T23:59:59.999999+08:00", datetime(2026, 11, 24, 15, 59, 59, 999999, tzinfo=UTC)),
        ("2026-11-01 09:30Z", datetime(2026, 11, 1, 9, 30, tzinfo=UTC)),
        (datetime(2026, 11, 1, 9, 30, tzinfo=UTC), datetime(2026, 11, 1, 9, 30, tzinfo=UTC)),
    ],
)
def test_good_times(occurred_at: object, expected: datetime) -> None:
    contents = read(occurred_at=occurred_at)
    assert isinstance(contents, Contents)
    assert (contents.occurred_at, contents.occurred_at.tzinfo) == (expected, UTC)


def test_a_time_without_an_offset_is_in_the_zone_that_is_assumed() -> None:
    bounds = Bounds(BOUNDS.earliest, BOUNDS.end, BOUNDS.channels, assume_zone=SHANGHAI)
    # China had summer time: +09:00 in July 1990, and +08:00 at the end of September.
    for text, expected in [
        ("1990-07-01T00:30:00", datetime(1990, 6, 30, 15, 30, tzinfo=UTC)),
        ("1990-10-01T00:30:00", datetime(1990, 9, 30, 16, 30, tzinfo=UTC)),
        ("2026-11-01", datetime(2026, 10, 31, 16, tzinfo=UTC)),
    ]:
        contents = read(bounds, occurred_at=text)
        assert isinstance(contents, Contents)
        assert contents.occurred_at == expected


@pytest.mark.parametrize("refers_to", [None, "", 5, "x" * 129, "a\x00", []], ids=kind_of)
def test_a_refund_names_its_purchase(refers_to: object) -> None:
    assert code_of(kind="refund", refers_to=refers_to) == "invalid_refers_to"


def test_what_refers_to_something_names_it_well() -> None:
    assert code_of(kind="interaction", refers_to=5) == "invalid_refers_to"
    assert code_of(kind="interaction", refers_to="order-1") is None


def nested(levels: int) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(levels - 1):
        inner = {"a": inner}
    return inner


@pytest.mark.parametrize(
    "detail",
    [
        *("text", 5, [], ["a"], {"a": "x" * 4090}, {"a": "\x00"}, {"\x00": 1}, {"a": "\ud800"}, {"a": float("nan")}),
        *({"a": float("inf")}, {"a": {1, 2}}, {"a": 10**5000}, {"a": b"x"}, {1: "a", "b": 2}, {"a": "茶" * 1365}),
        *({"a": "\\\x00"}, nested(17), nested(900)),
    ],
    ids=kind_of,
)
def test_bad_details(detail: object) -> None:
    assert code_of(detail=detail) == "invalid_detail"


def test_a_detail_that_only_looks_like_nul_is_good() -> None:
    contents = read(detail={"a": "\\u0000"})
    assert isinstance(contents, Contents)
    assert contents.detail == '{"a":"\\\\u0000"}'
    assert code_of(detail=nested(16)) is None
    assert code_of(detail={"a": "x" * (4096 - 8)}) is None
    assert code_of(detail={"a": "x" * (4096 - 7)}) == "invalid_detail"


@pytest.mark.parametrize("home", [0, -1, 900_719, "x", "1.5", [], True, 2**63, "9" * 5000, "１"], ids=kind_of)
def test_bad_homes(home: object) -> None:
    assert code_of(home=home) == "unknown_home"


def test_the_same_contents_have_the_same_hash() -> None:
    def hash_of(**changes: Any) -> str:
        contents = read(**changes)
        assert isinstance(contents, Contents)
        return contents.content_hash

    same = hash_of(detail={"a": 1, "b": 2})
    assert len(same) == 32
    assert same == hash_of(detail={"b": 2, "a": 1}, amount=29.33, event_id="other", external_userid="wmB", home=5)
    assert same == hash_of(detail={"a": 1, "b": 2}, occurred_at="2026-11-01T01:30:00Z", refers_to=None)
    others = [
        {"detail": {"a": 1}}, {"detail": None}, {"amount": "29.34"}, {"kind": "interaction"}, {"channel": "app"},
        {"occurred_at": "2026-11-01T09:30:01+08:00"}, {"refers_to": "x"},
    ]  # fmt: skip
    hashes = [hash_of(**{"detail": {"a": 1, "b": 2}, **other}) for other in others]
    assert len({same, *hashes}) == 1 + len(others)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.decimals() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON | st.fixed_dictionaries({}, optional={name: JSON | st.just(value) for name, value in GOOD.items()}))
def test_nothing_makes_it_raise(item: object) -> None:
    result = read_contents(0, item, BOUNDS)
    assert isinstance(result, Contents) or result.code in REASONS


def test_channels_of_the_company(settings: Any) -> None:
    settings.BEHAVIOUR_CHANNELS = ["hotline=客服热线", "tmall"]
    channel_names.cache_clear()
    try:
        assert channel_names()["hotline"] == "客服热线"
        assert channel_names()["store"] == "门店"
    finally:
        channel_names.cache_clear()
    for wrong in ("Hot", "热线", "", "a" * 33, "1a", "=x"):
        with pytest.raises(ValueError, match="BEHAVIOUR_CHANNELS"):
            read_channels([wrong])


def test_every_code_is_explained() -> None:
    page = (Path(__file__).parents[2] / "docs" / "import.md").read_text()
    assert [code for code in REASONS if f"`{code}`" not in page] == []
    assert [channel for channel in CHANNELS if channel not in page] == []
