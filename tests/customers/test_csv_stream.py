"""Reading CSV files as people make them. No database."""

import gzip
import os
import random
from pathlib import Path

import pytest

from customers.imports import Columns, CsvRow, CsvStream, ImportFileError
from customers.imports.csv_stream import MAX_LINE_BYTES, BadLine

COLUMNS = Columns(required=("id", "name"), optional=("note",), prefixes=("attr:",))


@pytest.fixture(autouse=True)
def _nothing_held() -> None:
    """This file needs none of what the tests beside it need."""


def read(path: Path, data: bytes, *, encoding: str = "utf-8", after_line: int = 1) -> list[CsvRow | BadLine]:
    path = path / "file.csv" if path.is_dir() else path
    path.write_bytes(data)
    with CsvStream(path, COLUMNS, encoding=encoding) as stream:
        return list(stream.rows(after_line=after_line))


def shape(found: list[CsvRow | BadLine]) -> list[tuple]:
    """Return (line, end, values) of rows and (line, code) of bad lines."""
    return [(one.line, one.end, one.values) if isinstance(one, CsvRow) else (one.line, one.code) for one in found]


def refusal(path: Path, data: bytes, *, encoding: str = "utf-8") -> str:
    with pytest.raises(ImportFileError) as caught:
        read(path, data, encoding=encoding)
    return str(caught.value)


def test_rows_with_bom_crlf_spaces_quotes_and_line_breaks(tmp_path: Path) -> None:
    data = '\ufeffid, name ,note\r\n1, 王 ,x\r\n\r\n,,\r\n2,"a ""b"", c","two\r\nlines"\r\n3,5" pipe,'.encode()
    assert shape(read(tmp_path, data)) == [
        (2, 2, {"id": "1", "name": "王", "note": "x"}),
        (5, 6, {"id": "2", "name": 'a "b", c', "note": "two\r\nlines"}),
        (7, 7, {"id": "3", "name": '5" pipe', "note": ""}),
    ]


def test_a_gzip_file_is_known_by_its_contents(tmp_path: Path) -> None:
    packed = gzip.compress(b"id,name\n1,a\n")
    assert shape(read(tmp_path / "no-suffix", packed)) == [(2, 2, {"id": "1", "name": "a"})]


def test_reading_goes_on_below_a_line(tmp_path: Path) -> None:
    data = b'id,name\n1,"a\nb"\n2,c\n3,d\n'
    assert [one[0] for one in shape(read(tmp_path, data, after_line=3))] == [4, 5]
    assert read(tmp_path, data, after_line=5) == []
    assert read(tmp_path, data, after_line=99) == []


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b"1,a,b,c,d", "wrong_columns"),
        (b"1", "wrong_columns"),
        (b'1,"never closed', "malformed_row"),
        (b'1,"closed"x', "malformed_row"),
        (b'"', "malformed_row"),
        (b"1,a\x00b", "nul_character"),
        (b"1,\xff\xfe", "invalid_encoding"),
        (b"1,a\rb", "malformed_row"),
        (b"1," + b"x" * MAX_LINE_BYTES, "line_too_long"),
        (b'1,"' + b"x" * MAX_LINE_BYTES, "line_too_long"),
    ],
    ids=lambda value: value[:12].decode("ascii", "replace") if isinstance(value, bytes) else value,
)
def test_a_bad_line_costs_only_itself(tmp_path: Path, bad: bytes, code: str) -> None:
    good = [(2, 2, {"id": "1", "name": "é"}), (4, 4, {"id": "2", "name": "ü"}), (5, 5, {"id": "3", "name": "ö"})]
    data = b"id,name\n1," + "é".encode() + b"\n" + bad + b"\n2," + "ü".encode() + b"\n3," + "ö".encode() + b"\n"
    assert shape(read(tmp_path, data)) == [good[0], (3, code), *good[1:]]


def test_a_stray_quote_gives_up_one_line_even_where_a_later_one_pairs_with_it(tmp_path: Path) -> None:
    data = b'id,name\n1,a\n2,"open\n3,b\n4,"open\n5,"whole"\n6,c\n'
    found = shape(read(tmp_path, data))
    assert [one for one in found if len(one) == 2] == [(3, "malformed_row"), (5, "malformed_row")]
    assert [one[2]["id"] for one in found if len(one) == 3] == ["1", "3", "5", "6"]


def test_every_line_with_a_quote_left_open_is_given_up(tmp_path: Path) -> None:
    found = read(tmp_path, b"id,name\n" + b'1,"x\n' * 1_000)
    assert shape(found) == [(line, "malformed_row") for line in range(2, 1_002)]


def test_half_a_line_at_the_end(tmp_path: Path) -> None:
    assert shape(read(tmp_path, b"id,name,note\n1,a,b\n2,c")) == [
        (2, 2, {"id": "1", "name": "a", "note": "b"}),
        (3, "wrong_columns"),
    ]


def test_a_gzip_file_that_is_cut_short_gives_what_it_has_and_then_says_so(tmp_path: Path) -> None:
    rows = "".join(f"{number},{random.random()}\n" for number in range(20_000))
    path = tmp_path / "file.csv.gz"
    path.write_bytes(gzip.compress(f"id,name\n{rows}".encode())[:-30_000])
    seen: list[int] = []
    with CsvStream(path, COLUMNS) as stream, pytest.raises(ImportFileError, match=r"damaged from line \d+"):
        seen.extend(one.line for one in stream.rows(after_line=1))
    assert 1_000 < len(seen) < 20_000


def test_a_file_in_gbk_names_the_way_out_and_is_read_with_it(tmp_path: Path) -> None:
    for data in ("id,name,备注\n1,王,x\n", "id,name\n1,a\n2,王小明\n3,李四\n"):
        assert "--encoding gb18030" in refusal(tmp_path, data.encode("gbk"))
    assert shape(read(tmp_path, "id,name\n1,王\n".encode("gbk"), encoding="gb18030")) == [
        (2, 2, {"id": "1", "name": "王"})
    ]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"\n", "no column id, name"),
        (b"id\n1\n", "no column name. Its columns: id."),
        (b"id,name,id\n", "a column twice: id"),
        (b"id,name,,note\n,,,\n", None),
        (b"id;name\n1;a\n", "semicolons"),
        (b"id\tname\n", "tabs"),
        ("id,name\n".encode("utf-16"), "UTF-16"),
        (b'"id,name\n1,a\n', "no header"),
        (b"\x1f\x8b", "damaged gzip"),
        (b"\x1f\x8b" + b"x" * 100, "damaged gzip"),
        (b"x" * (2 * MAX_LINE_BYTES), "no header"),
    ],
    ids=str,
)
def test_a_file_that_cannot_be_imported_says_why(tmp_path: Path, data: bytes, says: str | None) -> None:
    if says is None:
        read(tmp_path, data)
    else:
        assert says in refusal(tmp_path, data)


@pytest.mark.parametrize("encoding", ["nonsense", "utf-16", "base64", "cp037"])
def test_an_encoding_that_does_not_fit(tmp_path: Path, encoding: str) -> None:
    assert f"The encoding {encoding} cannot be read" in refusal(tmp_path, b"id,name\n", encoding=encoding)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, says in [
        (tmp_path / "nothing.csv", "No such file"), (tmp_path, "is no file"), (tmp_path / "pipe", "is no file"),
    ]:  # fmt: skip
        with pytest.raises(ImportFileError, match=says):
            CsvStream(path, COLUMNS)


def test_a_file_is_read_by_one_import_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(b"id,name\n")
    with CsvStream(path, COLUMNS), pytest.raises(ImportFileError, match="another process"):
        CsvStream(path, COLUMNS)
    CsvStream(path, COLUMNS).close()


def test_unknown_columns_are_named_and_positions_are_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(b"id,extra,name,attr:level\n1,x,a,3\n")
    with CsvStream(path, COLUMNS) as stream:
        assert stream.ignored == ["extra"]
        (row,) = stream.rows(after_line=1)
        assert row.values == {"id": "1", "extra": "x", "name": "a", "attr:level": "3"}
        assert stream.position == stream.size == 33
