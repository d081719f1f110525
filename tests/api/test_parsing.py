"""Bodies, parameters and ids as they come, the honest ones and the others."""

import gzip
import io
import json
import zlib
from datetime import date
from typing import Any

import pytest
from django.http import HttpRequest, QueryDict
from django.test import RequestFactory
from hypothesis import given, settings
from hypothesis import strategies as st

from scrm.api.parsing import (
    decode,
    read_customer_id,
    read_day,
    read_integer,
    read_json,
    read_limit,
    read_object,
    read_text,
    refuse_unknown,
)
from scrm.api.problems import (
    InvalidError,
    LengthRequiredError,
    MalformedError,
    NotFoundError,
    ProblemError,
    TooLargeError,
    UnsupportedMediaTypeError,
)

CAP = 1_000_000


def post(body: bytes, *, content_type: str = "application/json", **extra: Any) -> HttpRequest:
    return RequestFactory().generic("POST", "/", body, content_type=content_type, **extra)


def zipped(body: bytes) -> HttpRequest:
    return post(body, HTTP_CONTENT_ENCODING="gzip")


# ---- bodies ----------------------------------------------------------------------------------------------------------
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=9,
)  # fmt: skip


@given(JSON)
def test_json_is_read_plain_and_zipped(value: Any) -> None:
    body = json.dumps(value).encode()
    assert read_json(post(body)) == value
    assert read_json(zipped(gzip.compress(body))) == value
    half = len(body) // 2
    assert read_json(zipped(gzip.compress(body[:half]) + gzip.compress(body[half:]))) == value


@settings(max_examples=300)
@given(st.binary(max_size=80), st.sampled_from(["", "gzip", "identity", "br"]), st.booleans())
def test_garbage_is_refused_as_a_problem(body: bytes, encoding: str, is_zipped: bool) -> None:
    sent = gzip.compress(body)[: len(body) + 12] if is_zipped else body
    status = 200
    try:
        read_json(post(sent, HTTP_CONTENT_ENCODING=encoding), max_bytes=60)
    except ProblemError as problem:
        status = problem.status
    assert status in (200, 400, 413, 415)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "The body is empty."),
        (b"{", "The body is not JSON: unexpected end of data at character 1."),
        (b'{"a": NaN}', "not JSON"),
        (b'{"a": -Infinity}', "not JSON"),
        (b'{"a": 1e999}', "not JSON"),
        (b'{"a": 1} x', "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'"\xff"', "not JSON"),
        (b'"\\ud800"', "not JSON"),
        (b'"a\x00b"', "not JSON"),
        (b"[" * 33 + b"]" * 33, "nested deeper than 32"),
        (b"[" * 2_000 + b"]" * 2_000, ""),
        (b"[" * 200_000, "not JSON"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "nested deeper than 32"),
        (b'{"a": ["x\\u0000y"]}', "U+0000"),
        (b'{"a": [{"x\\u0000y": 1}]}', "U+0000"),
        (b'"\\u0000"', "U+0000"),
    ],
)
def test_bodies_that_are_no_json(body: bytes, detail: str) -> None:
    with pytest.raises(MalformedError) as caught:
        read_json(post(body))
    assert detail in caught.value.detail


def test_what_only_looks_dangerous_is_read() -> None:
    assert decode(b"[" * 32 + b"]" * 32)
    assert decode(json.dumps([[]] * 5_000).encode()) == [[]] * 5_000
    assert decode(b'"\\\\u0000"') == "\\u0000"
    assert decode(b'{"a": 1, "a": 2}') == {"a": 2}


@pytest.mark.parametrize("body", [b"[]", b"null", b'"a"', b"5"])
def test_only_an_object_is_an_object(body: bytes) -> None:
    with pytest.raises(InvalidError) as caught:
        read_object(post(body))
    assert caught.value.as_json()["errors"][0]["code"] == "not_an_object"


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data"])
def test_other_media_types_are_refused(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaTypeError):
        read_json(post(b"{}", content_type=content_type))
    assert read_json(post(b"{}", content_type="application/json; charset=utf-8")) == {}


def test_other_encodings_are_refused() -> None:
    with pytest.raises(UnsupportedMediaTypeError) as caught:
        read_json(post(b"{}", HTTP_CONTENT_ENCODING="br"))
    assert caught.value.headers == {"Accept-Encoding": "gzip, identity"}


class Counting(io.BytesIO):
    """A body that says how much of it was asked for."""

    taken = 0

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        self.taken += len(found)
        return found


def streamed(stream: io.BytesIO, length: str, **extra: str) -> HttpRequest:
    request = post(b"", **extra)
    request.META["CONTENT_LENGTH"] = length
    request._stream = stream
    return request


def test_a_body_that_says_it_is_too_large_is_not_read() -> None:
    stream = Counting(b"x" * 2_000)
    for length in ("2000", "9" * 30):
        with pytest.raises(TooLargeError) as caught:
            read_json(streamed(stream, length), max_bytes=1_999)
    assert stream.taken == 0
    assert caught.value.as_json()["max_bytes"] == 1_999


def test_a_body_that_lies_about_its_length_is_read_no_further_than_the_cap() -> None:
    stream = Counting(b"x" * 500_000)
    with pytest.raises(TooLargeError):
        read_json(streamed(stream, "5"), max_bytes=100_000)
    assert stream.taken == 100_001


def test_a_gzip_bomb_is_unpacked_no_further_than_the_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked = []
    real = zlib.decompressobj

    class Watched:
        def __init__(self, wbits: int) -> None:
            self.inner = real(wbits=wbits)

        def decompress(self, data: bytes, size: int) -> bytes:
            found = self.inner.decompress(data, size)
            unpacked.append(len(found))
            return found

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

    monkeypatch.setattr(zlib, "decompressobj", Watched)
    bomb = gzip.compress(b"0" * 200_000_000, 1)
    assert len(bomb) < CAP
    with pytest.raises(TooLargeError):
        read_json(zipped(bomb), max_bytes=CAP)
    assert sum(unpacked) == CAP + 1


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"{}", "The body is not gzip."),
        (gzip.compress(b"[1, 2, 3]", mtime=0)[:-5], "The gzip body ended early."),
        (gzip.compress(b"[1]", mtime=0) + b"trailing", "The body is not gzip."),
        (gzip.compress(b"", mtime=0) * 17, "The gzip body has more than 16 members."),
        (gzip.compress(b"", mtime=0), "The body is empty."),
        (gzip.compress(b"[1]", mtime=0)[:-8] + b"\0" * 8, "The body is not gzip."),
    ],
)
def test_bodies_that_are_no_gzip(body: bytes, detail: str) -> None:
    with pytest.raises(MalformedError) as caught:
        read_json(zipped(body))
    assert caught.value.detail == detail


def test_a_body_of_unknown_length_is_refused_instead_of_looking_empty() -> None:
    with pytest.raises(LengthRequiredError):
        read_json(streamed(io.BytesIO(b"{}"), "", HTTP_TRANSFER_ENCODING="chunked"))


# ---- parameters ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=-1", "limit=5.0", "limit=１０", "limit=1e2", "limit= 5"]
)
def test_limits_out_of_range(query: str) -> None:
    with pytest.raises(InvalidError) as caught:
        read_limit(QueryDict(query))
    assert caught.value.as_json()["errors"] == [
        {"field": "limit", "code": "out_of_range", "message": "limit must be an integer from 1 to 500."}
    ]


def test_limits() -> None:
    assert [read_limit(QueryDict(query)) for query in ("", "limit=", "limit=1", "limit=500")] == [50, 50, 1, 500]


def test_integers() -> None:
    assert read_integer(QueryDict("n=-5"), "n", lowest=-9, highest=9) == -5
    for text in ("9" * 19, "9" * 101, "+5", "0x5", "", "--5"):
        if text:
            with pytest.raises(InvalidError):
                read_integer(QueryDict(f"n={text}"), "n", lowest=-9, highest=9)
        else:
            assert read_integer(QueryDict(f"n={text}"), "n", lowest=-9, highest=9) is None


@pytest.mark.parametrize(
    ("query", "code"), [("q=1&q=2", "repeated"), (f"q={'x' * 11}", "too_long"), ("q=a%00b", "invalid_character")]
)
def test_texts_that_are_refused(query: str, code: str) -> None:
    with pytest.raises(InvalidError) as caught:
        read_text(QueryDict(query), "q", max_length=10)
    assert caught.value.as_json()["errors"][0]["code"] == code


def test_days() -> None:
    assert read_day(QueryDict("as_of=2024-02-29"), "as_of") == date(2024, 2, 29)
    assert read_day(QueryDict(""), "as_of") is None
    for text in ("2023-02-29", "0000-01-01", "20240229", "2024-W09-4", "2024-2-9", "2024-02-29T00:00", "今天"):
        with pytest.raises(InvalidError, match="must be a date such as"):
            read_day(QueryDict(f"as_of={text}"), "as_of")


def test_parameters_that_nobody_reads_are_refused() -> None:
    refuse_unknown(QueryDict("limit=5"), ["limit", "cursor"])
    with pytest.raises(InvalidError, match=r"There is no parameter 'limitt'; known are cursor, limit\."):
        refuse_unknown(QueryDict("limitt=5"), ["limit", "cursor"])


# ---- ids -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "text", ["0", "-1", "9223372036854775808", "42", "1000000000000", "１０００", "", "x", "1" * 400]
)
def test_ids_that_are_no_ids_are_nobodys(text: str) -> None:
    with pytest.raises(NotFoundError):
        read_customer_id(text)


def test_ids() -> None:
    assert read_customer_id("1000000000042") == 1000000000042
