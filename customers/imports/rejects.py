"""The file of rows that were not imported, beside the imported one.

    FILE.rejected.csv         line, code, message, then the row as it stood; UTF-8 with BOM, so that Excel reads it
    FILE.rejected.csv.part    while the import runs; takes the other's place when it ends

Its columns are those of the file behind three more, so that the mended file can be imported as it is. It holds personal
data: only its owner may read it.
"""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from customers.imports.csv_stream import ImportFileError

OWN_COLUMNS = ("line", "code", "message")


class RejectsFile:
    """Rows that were refused, on disk when synced. Nothing is written as long as there are none."""

    def __init__(self, path: Path, header: Sequence[str]) -> None:
        self.path = path
        self._part = path.with_name(f"{path.name}.part")
        self._header = header
        self._file: BinaryIO | None = None
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise ImportFileError(f"{path.parent} cannot be written: say with --rejected where bad rows shall go.")

    def begin(self, size: int = 0) -> bool:
        """Begin anew, or (size > 0) go on behind the first `size` bytes. False: they are not there any more."""
        self.close()
        if size == 0:
            self._part.unlink(missing_ok=True)
            return True
        try:
            file = self._part.open("r+b")
        except OSError:
            return False
        if file.seek(0, os.SEEK_END) < size:
            file.close()
            return False
        file.truncate(size)
        file.seek(size)
        self._file = file
        return True

    def add(self, line: int, code: str, message: str, cells: Sequence[str]) -> None:
        """Add a row."""
        if self._file is None:
            self._file = os.fdopen(os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "w+b")
            self._file.write("\ufeff".encode())
            self._write([*OWN_COLUMNS, *(name for name in self._header if name not in OWN_COLUMNS)])
        own = [cell for name, cell in zip(self._header, cells, strict=False) if name not in OWN_COLUMNS]
        self._write([str(line), code, message, *own, *cells[len(self._header) :]])

    def sync(self) -> int:
        """Put on disk what has been added. Returns the bytes there are."""
        if self._file is None:
            return 0
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def finish(self) -> Path | None:
        """Put the file in place; remove an older one if nothing was refused. Returns where it is."""
        if self._file is None:
            self.path.unlink(missing_ok=True)
            return None
        self.sync()
        self.close()
        self._part.replace(self.path)
        return self.path

    def close(self) -> None:
        """Leave what there is for a later begin."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, cells: Sequence[str]) -> None:
        assert self._file is not None
        text = io.StringIO()
        csv.writer(text).writerow(cells)
        self._file.write(text.getvalue().encode(errors="replace"))
