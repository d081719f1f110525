"""Import a file chunk by chunk, so that one that is killed at any moment can be taken up where it stood.

    1  a chunk of rows is written by its app, repeatably: a row that is there already is a duplicate
    2  refused rows are put on disk
    3  the line, the size of the file of rejects and the counts are committed in the control database

A crash between 1 and 3 repeats one chunk. The import of a file is known by the file's contents, kind and source; when
it has ended, importing the file again begins anew.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import structlog
from django.db import reset_queries
from django.utils import timezone

from customers.imports.csv_stream import BadLine, CsvRow, CsvStream, ImportFileError
from customers.imports.rejects import RejectsFile
from customers.models import ImportProgress

logger = structlog.get_logger(__name__)

CHUNK_ROWS = 5_000
# A restart of a department database is waited for; what takes longer stops the import, to be taken up later.
WAIT_SECONDS = (1, 2, 4, 8, 15)


class ImportStoppedError(RuntimeError):
    """An import that cannot go on now; the same command takes it up where it stands."""


@dataclass
class Taken:
    """What became of a chunk. counts: {fate: rows}; refused: (row, code, message); later: rows to try again."""

    counts: Counter[str] = field(default_factory=Counter)
    refused: list[tuple[CsvRow, str, str]] = field(default_factory=list)
    later: list[tuple[CsvRow, str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Progress:
    """How far an import is: position of size bytes, lines, and the counts so far (`rejected` among them)."""

    position: int
    size: int
    lines: int
    counts: Counter[str]


@dataclass(frozen=True)
class Summary:
    """What an import did. rejects: the file of bad rows, if there are any; resumed_at: the line it was taken up at."""

    counts: Counter[str]
    rejects: Path | None
    resumed_at: int
    seconds: float


def run_import(
    stream: CsvStream,
    *,
    kind: str,
    source: str,
    take: Callable[[Sequence[CsvRow]], Taken],
    rejects_path: Path,
    restart: bool = False,
    show: Callable[[Progress], None] = lambda progress: None,
) -> Summary:
    """Import what a stream holds, from where an earlier import of it was cut off, or from its first row.

    take: writes a chunk of rows, repeatably. Memory: one chunk.
    Database: one update on the control database a chunk, beside what take does.
    Raises ImportFileError for a file that ends in the middle, ImportStoppedError for a database that stays away.
    """
    began = time.monotonic()
    rejects = RejectsFile(rejects_path, stream.header)
    progress = _find_or_begin(stream, kind, source)
    if restart or progress.finished_at or not rejects.begin(progress.rejected_bytes):
        rejects.begin()
        progress = _begin_anew(progress)
    resumed_at = progress.lines
    counts = Counter(progress.counts)
    try:
        for chunk in _chunks(stream.rows(after_line=max(progress.lines, 1))):
            counts += _take_chunk(chunk, take, rejects)
            _keep(progress, chunk[-1].end, rejects.sync(), counts)
            reset_queries()  # with DEBUG on Django keeps them all
            show(Progress(stream.position, stream.size, chunk[-1].end, counts))
        placed = rejects.finish()
    finally:
        rejects.close()
    now = timezone.now()
    ImportProgress.objects.filter(pk=progress.pk).update(updated_at=now, finished_at=now)
    logger.info("import_finished", kind=kind, source=source, resumed_at=resumed_at, **counts)
    return Summary(counts, placed, resumed_at, time.monotonic() - began)


def _find_or_begin(stream: CsvStream, kind: str, source: str) -> ImportProgress:
    progress, _ = ImportProgress.objects.get_or_create(
        kind=kind, source=source, digest=stream.digest(), defaults={"file_name": stream.path.name[:255]}
    )
    return progress


def _begin_anew(progress: ImportProgress) -> ImportProgress:
    now = timezone.now()
    progress.lines, progress.rejected_bytes, progress.counts = 0, 0, {}
    progress.started_at, progress.updated_at, progress.finished_at = now, now, None
    progress.save()
    return progress


def _keep(progress: ImportProgress, lines: int, rejected_bytes: int, counts: Counter[str]) -> None:
    ImportProgress.objects.filter(pk=progress.pk).update(
        lines=lines, rejected_bytes=rejected_bytes, counts=dict(counts), updated_at=timezone.now()
    )


def _chunks(rows: Iterator[CsvRow | BadLine]) -> Iterator[list[CsvRow | BadLine]]:
    """Yield chunks; where the file breaks off, first what came before."""
    broken: list[ImportFileError] = []

    def until_broken() -> Iterator[CsvRow | BadLine]:
        try:
            yield from rows
        except ImportFileError as error:
            broken.append(error)

    whole = until_broken()
    while chunk := list(islice(whole, CHUNK_ROWS)):
        yield chunk
    if broken:
        raise broken[0]


def _take_chunk(
    chunk: Sequence[CsvRow | BadLine], take: Callable[[Sequence[CsvRow]], Taken], rejects: RejectsFile
) -> Counter[str]:
    """Write a chunk, waiting for what is down for a while. Returns its counts."""
    counts: Counter[str] = Counter()
    refused = [(bad.line, bad.code, bad.message, bad.cells) for bad in chunk if isinstance(bad, BadLine)]
    rows = [row for row in chunk if isinstance(row, CsvRow)]
    for wait_seconds in (*WAIT_SECONDS, None):
        taken = take(rows)
        counts += taken.counts
        refused += [(row.line, code, message, row.cells) for row, code, message in taken.refused]
        if not taken.later:
            break
        row, _, message = taken.later[0]
        if wait_seconds is None:
            raise ImportStoppedError(f"Stopped at line {row.line}: {message} Repeat the command to go on from there.")
        logger.warning("import_waits", seconds=wait_seconds, line=row.line, rows=len(taken.later), reason=message)
        time.sleep(wait_seconds)
        rows = [row for row, _, _ in taken.later]
    for line, code, message, cells in sorted(refused, key=lambda one: one[0]):
        rejects.add(line, code, message, cells)
    if refused:
        counts["rejected"] += len(refused)
    return counts
