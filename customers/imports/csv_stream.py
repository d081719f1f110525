"""Read a CSV file with a header, plain or gzip, row by row in constant memory. Needs no database.

what is in the file                          what comes of it
a row                                        CsvRow: line number and {column: text without spaces around}
blank lines, rows of empty cells             nothing
a quoted cell over several lines             one row, with the number of its first line
more or fewer cells than columns             BadLine wrong_columns
a quote that nobody closes, or in a cell     BadLine malformed_row: of its first line only, reading goes on below it
a line of more than 1 MB                     BadLine line_too_long
NUL                                          BadLine nul_character
bytes that are not of the encoding           BadLine invalid_encoding
no header, columns missing or twice, another encoding or separator, gzip cut short: ImportFileError, with what to do
"""

import codecs
import csv
import fcntl
import gzip
import io
import os
import stat
import zlib
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, cast

MAX_LINE_BYTES = 1024 * 1024
# A quote left open would swallow the file: a row ends after so many lines.
MAX_ROW_LINES = 100
SAMPLE_BYTES = 64 * 1024
RAW_CHARACTERS = 1000
GZIP = b"\x1f\x8b"
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

csv.field_size_limit(MAX_LINE_BYTES * 2)


class ImportFileError(ValueError):
    """A file that cannot be imported as it is; the message says why and what to do."""


@dataclass(frozen=True)
class Columns:
    """The columns of a kind of file. prefixes: of column names that are made up by whoever wrote the file; one_of: sets
    of optional ones, of which one must be there."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    one_of: tuple[tuple[str, ...], ...] = ()

    def knows(self, name: str) -> bool:
        return name in self.required or name in self.optional or name.startswith(self.prefixes or ("\0",))


@dataclass(frozen=True)
class CsvRow:
    """A row. line: the number of its first line; end: of its last. cells: all of them, as they stood."""

    line: int
    end: int
    values: dict[str, str]
    cells: list[str]


@dataclass(frozen=True)
class BadLine:
    """A line that is no row, and why."""

    line: int
    end: int
    code: str
    message: str
    cells: list[str]


@dataclass(frozen=True)
class _Line:
    number: int
    text: str
    code: str = ""


class _NoRowError(Exception):
    """What has been read of this row cannot become one."""


class _Lines:
    """The lines of a file as csv.reader wants them, remembering which of them the row at hand is made of."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self._file = file
        self._encoding = encoding
        self._again: deque[_Line] = deque()
        self._number = 0
        self.row: list[_Line] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self.row) >= MAX_ROW_LINES or sum(len(line.text) for line in self.row) > MAX_LINE_BYTES:
            raise _NoRowError
        line = self._again.popleft() if self._again else self._read()
        if line is None:
            raise StopIteration
        self.row.append(line)
        if line.code:
            raise _NoRowError
        return line.text

    def begin_row(self) -> None:
        self.row = []

    def give_back(self) -> _Line:
        """Leave all lines of the row at hand but the first for the next rows; return the first."""
        first, *rest = self.row
        self._again.extendleft(reversed(rest))
        return first

    def skip(self, lines: int) -> None:
        """Go past the first lines of the file without looking at them."""
        while self._number < lines and self._read_bytes():
            pass

    def _read_bytes(self) -> bytes:
        raw = self._file.readline(MAX_LINE_BYTES + 1)
        if raw:
            self._number += 1
            rest = raw
            while len(rest) > MAX_LINE_BYTES and not rest.endswith(b"\n"):
                rest = self._file.readline(MAX_LINE_BYTES + 1)
        return raw

    def _read(self) -> _Line | None:
        raw = self._read_bytes()
        if not raw:
            return None
        number = self._number
        if number == 1:
            raw = raw.removeprefix(codecs.BOM_UTF8)
        if len(raw) > MAX_LINE_BYTES:
            return _Line(number, raw[: RAW_CHARACTERS * 4].decode(self._encoding, "replace"), "line_too_long")
        try:
            text = raw.decode(self._encoding)
        except UnicodeDecodeError:
            return _Line(number, raw.decode(self._encoding, "replace"), "invalid_encoding")
        return _Line(number, text, "nul_character" if "\0" in text else "")


MESSAGES = {
    "line_too_long": "The line has more than 1 MB.",
    "invalid_encoding": "The line is not in the encoding of the file.",
    "nul_character": "The line holds a NUL character.",
    "malformed_row": "The quotes of the line do not pair.",
}


class CsvStream:
    """An open CSV file. header, ignored columns, size and position in bytes are there at once; rows are read by rows().

    encoding: of the text, ASCII-compatible (utf-8, gb18030, …). The file is locked against another import of it.
    Raises ImportFileError. Close it, or use it in a with statement.
    """

    def __init__(self, path: Path, columns: Columns, *, encoding: str = "utf-8") -> None:
        self.path = path
        self._encoding = _checked_encoding(encoding)
        self._raw = _open(path)
        try:
            self.size = os.fstat(self._raw.fileno()).st_size
            self._file = self._unpacked()
            self._check_sample()
            self._lines = _Lines(cast(BinaryIO, self._file), self._encoding)
            # strict: a quote that is never closed is an error, not a cell to the end of the file
            self._reader = csv.reader(self._lines, strict=True)
            self.header = self._read_header(columns)
        except BaseException:
            self.close()
            raise
        self.ignored = [name for name in self.header if not columns.knows(name)]

    def __enter__(self) -> "CsvStream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._raw.close()

    @property
    def position(self) -> int:
        """How many of the file's `size` bytes have been read."""
        return self._raw.tell()

    def digest(self) -> bytes:
        """Return 32 bytes that only a file of the same contents has. Reads it all, about a second a gigabyte."""
        contents = blake2b(digest_size=32)
        with self.path.open("rb") as file:
            while block := file.read(1024 * 1024):
                contents.update(block)
        return contents.digest()

    def rows(self, *, after_line: int = 0) -> Iterator[CsvRow | BadLine]:
        """Yield what the file holds below its header and below a line, in order.

        Raises ImportFileError where a gzip file is cut short; what came before has been yielded.
        """
        self._lines.skip(after_line)
        while (found := self._read_unpacked()) is not None:
            if isinstance(found, BadLine) or any(found.cells):
                yield found

    def _read_unpacked(self) -> CsvRow | BadLine | None:
        try:
            return self._read_row()
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ImportFileError(
                f"{self.path} is damaged from line {self._lines.row[-1].number + 1 if self._lines.row else 1} on "
                f"({error}): get the file again."
            ) from error

    def _read_row(self) -> CsvRow | BadLine | None:
        self._lines.begin_row()
        try:
            cells = next(self._reader)
        except StopIteration:
            return None
        except (csv.Error, _NoRowError):
            first = self._lines.give_back()
            code = first.code or "malformed_row"
            return BadLine(
                first.number, first.number, code, MESSAGES[code], [first.text.rstrip("\r\n")[:RAW_CHARACTERS]]
            )
        cells = [cell.strip() for cell in cells]
        wanted = len(self.header)
        while len(cells) > wanted and not cells[-1]:
            cells.pop()
        if len(cells) != wanted and any(cells):
            # A stray quote may have glued lines together: only the first is given up.
            first = self._lines.give_back()
            message = f"The row has {len(cells)} cells instead of {wanted}."
            return BadLine(first.number, first.number, "wrong_columns", message, cells[: wanted * 2])
        row = self._lines.row
        return CsvRow(row[0].number, row[-1].number, dict(zip(self.header, cells, strict=False)), cells)

    def _unpacked(self) -> io.BufferedReader:
        magic = self._raw.read(2)
        self._raw.seek(0)
        if magic != GZIP:
            return io.BufferedReader(cast(io.RawIOBase, self._raw), SAMPLE_BYTES)
        return io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=self._raw)), SAMPLE_BYTES)

    def _check_sample(self) -> None:
        """Refuse a file whose encoding is another than we think before anything of it is imported."""
        try:
            sample = self._file.peek(SAMPLE_BYTES)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ImportFileError(f"{self.path} is a damaged gzip file: get it again.") from error
        if sample.startswith(UTF_16):
            raise ImportFileError(f"{self.path} is UTF-16: save it as CSV UTF-8 (comma delimited).")
        lines = sample.removeprefix(codecs.BOM_UTF8).split(b"\n")
        whole = lines[:-1] or lines  # the last may be cut
        foreign = [number for number, line in enumerate(whole, 1) if not self._decodes(line)]
        not_ascii = sum(not line.isascii() for line in whole)
        if foreign and (foreign[0] == 1 or len(foreign) * 2 > not_ascii):
            raise ImportFileError(
                f"{self.path} is not {self._encoding} (line {foreign[0]}). Excel in China writes GBK: "
                "try --encoding gb18030, or save it as CSV UTF-8."
            )

    def _decodes(self, line: bytes) -> bool:
        try:
            line.decode(self._encoding)
        except UnicodeDecodeError:
            return False
        return True

    def _read_header(self, columns: Columns) -> list[str]:
        try:
            cells = next(self._reader)
        except StopIteration:
            raise ImportFileError(f"{self.path} is empty: the first line names the columns.") from None
        except (csv.Error, _NoRowError):
            raise ImportFileError(f"{self.path} has no header: the first line names the columns.") from None
        names = [cell.strip() for cell in cells]
        while names and not names[-1]:
            names.pop()
        self._check_header(names, columns)
        return names

    def _check_header(self, names: list[str], columns: Columns) -> None:
        missing = [name for name in columns.required if name not in names]
        if columns.one_of and not any(set(group) <= set(names) for group in columns.one_of):
            missing = [*columns.one_of[0], *missing]
        if missing and len(names) == 1:
            for separator, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars"), ("，", "wide commas")):
                if separator in names[0]:
                    raise ImportFileError(f"{self.path} is separated by {name}: save it with commas.")
        if missing:
            raise ImportFileError(
                f"{self.path} has no column {', '.join(missing)}. Its columns: {', '.join(names)[:500] or 'none'}."
            )
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise ImportFileError(
                f"{self.path} has a column twice: {', '.join(name or '(no name)' for name in twice)}."
            )


def _checked_encoding(encoding: str) -> str:
    """Return the encoding; refuse one that is unknown, or in which a line does not end with one byte."""
    if encoding.lower().replace("_", "-") in ("utf-8-sig", "utf8-sig"):
        return "utf-8"
    try:
        fits = "a,\n".encode(encoding) == b"a,\n"
    except LookupError:
        fits = False
    if not fits:
        raise ImportFileError(f"The encoding {encoding} cannot be read: use utf-8 or gb18030.")
    return encoding


def _open(path: Path) -> BinaryIO:
    """Open a regular file and lock it for as long as it is open."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe would wait for its writer
            raise ImportFileError(f"{path} is no file.")
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise ImportFileError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ImportFileError(f"{path} is being imported by another process.") from None
    except OSError:
        pass  # a network drive without locks: a second import of the file would only find duplicates
    return cast(BinaryIO, file)
