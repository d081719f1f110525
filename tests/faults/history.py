"""What processes have seen of each other, merged from their logs, and what in it breaks a promise. Pure.

promise                                                                              checked for
a read shows no less of a part than what was answered before the read began          every read, every part
it shows nothing of which the write had not begun before the read ended              every read, every part
two reads of one version show the same: no read is torn                              every version
no read shows an older version than one that ended before it began                   keys of which no write was owed
who is alive is found, who was erased is not                                         keys with a part "life"

A write of which Redis could not be told is owed: it counts as answered from the end of the first settling that began
after the answer and left nothing. A write whose process died was never answered.
"""

import json
from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

LIFE = "life"
SHOWN_FAULTS = 20


class Read(NamedTuple):
    """parts: {part: number} of what was shown, empty if nobody was found; version: 0 then."""

    key: str
    began: float
    ended: float
    source: str
    version: int
    parts: dict[str, int]


class Write(NamedTuple):
    """answered: None if the process died or the write was refused."""

    key: str
    part: str
    number: int
    began: float
    answered: float | None = None
    is_owed: bool = False


@dataclass
class History:
    """failed: reads that raised HomeUnavailableError; settled: (began, ended) of settlings that left nothing.
    looks: (key, source, seconds) of reads by a crowd.
    """

    reads: list[Read] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    failed: list[tuple[str, float, float]] = field(default_factory=list)
    settled: list[tuple[float, float]] = field(default_factory=list)
    looks: list[tuple[str, str, float]] = field(default_factory=list)
    noted: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, logs: Iterable[Path]) -> "History":
        """Merge logs. A line that its process had no time to end is left out."""
        history = cls()
        for log in logs:
            history._merge(log.read_bytes().split(b"\n")[:-1])
        history.settled.sort()
        return history

    def _merge(self, lines: Iterable[bytes]) -> None:
        begun: dict[tuple[str, str, int], float] = {}
        for kind, what in map(json.loads, lines):
            self.noted[kind] += 1
            if kind == "read":
                self.reads.append(Read(**what))
            elif kind == "failed":
                self.failed.append((what["key"], what["began"], what["ended"]))
            elif kind == "began":
                begun[what["key"], what["part"], what["number"]] = what["at"]
            elif kind == "answered":
                name = what["key"], what["part"], what["number"]
                self.writes.append(Write(*name, begun.pop(name), what["at"], what["is_owed"]))
            elif kind == "look":
                self.looks.append((what["key"], what["source"], what["seconds"]))
            elif kind == "settled":
                self.settled.append((what["began"], what["ended"]))
        self.writes += [Write(*name, began) for name, began in begun.items()]

    @property
    def answered(self) -> list[Write]:
        """The writes that were answered."""
        return [write for write in self.writes if write.answered is not None]

    def find_faults(self) -> list[str]:
        """Return in words what breaks a promise, the first of many."""
        faults = [*self._older(), *self._unborn(), *self._torn(), *self._backwards(), *self._lives()]
        return faults[:SHOWN_FAULTS]

    def summary(self) -> str:
        """Return how much there is, in words."""
        sources = Counter(read.source for read in self.reads)
        owed = sum(write.is_owed for write in self.answered)
        return (
            f"{len(self.reads)} reads {dict(sources)}, {len(self.failed)} failed; {len(self.writes)} writes, "
            f"{len(self.answered)} answered, {owed} of these owed; {dict(self.noted)}"
        )

    def _counts_from(self, write: Write) -> float | None:
        if not write.is_owed or write.answered is None:
            return write.answered
        after = bisect_left(self.settled, (write.answered,))
        return self.settled[after][1] if after < len(self.settled) else None

    def _older(self) -> Iterator[str]:
        answers: defaultdict[tuple[str, str], list[tuple[float, int]]] = defaultdict(list)
        for write in self.writes:
            moment = self._counts_from(write)
            if moment is not None and write.part != LIFE:
                insort(answers[write.key, write.part], (moment, write.number))
        parts_of: defaultdict[str, list[str]] = defaultdict(list)
        for (key, part), rising in answers.items():
            parts_of[key].append(part)
            highest = 0
            for place, (moment, number) in enumerate(rising):
                highest = max(highest, number)
                rising[place] = moment, highest
        for read in self.reads:
            for part in parts_of[read.key]:
                rising = answers[read.key, part]
                before = bisect_left(rising, (read.began,)) - 1
                if before >= 0 and read.parts.get(part, 0) < rising[before][1]:
                    yield f"older: {part} {rising[before][1]} had been answered at {rising[before][0]}: {read}"

    def _unborn(self) -> Iterator[str]:
        begun = {(write.key, write.part, write.number): write.began for write in self.writes}
        written = {(write.key, write.part) for write in self.writes}
        for read in self.reads:
            for part, number in read.parts.items():
                if (read.key, part) in written and read.ended < begun.get((read.key, part, number), read.ended + 1):
                    yield f"unborn: nobody had begun to write {part} {number}: {read}"

    def _torn(self) -> Iterator[str]:
        first: dict[tuple[str, int | None, int], Read] = {}
        for read in self.reads:
            known = first.setdefault((read.key, read.parts.get(LIFE), read.version), read)
            if known.parts != read.parts:
                yield f"torn: two states of one version: {known} {read}"

    def _backwards(self) -> Iterator[str]:
        left_out = {write.key for write in self.writes if write.is_owed or write.part == LIFE}
        by_key: defaultdict[str, list[Read]] = defaultdict(list)
        for read in self.reads:
            if read.key not in left_out:
                by_key[read.key].append(read)
        for reads in by_key.values():
            ended = iter(sorted(reads, key=lambda read: read.ended))
            coming = next(ended)
            newest: Read | None = None
            for read in sorted(reads, key=lambda read: read.began):
                while coming.ended < read.began:
                    newest = coming if newest is None or coming.version > newest.version else newest
                    coming = next(ended)
                if newest is not None and read.version < newest.version:
                    yield f"backwards: {newest} had ended before: {read}"

    def _lives(self) -> Iterator[str]:
        """Life n is born by write 2n and ended by write 2n + 1 of the part "life"."""
        lives: defaultdict[str, dict[int, Write]] = defaultdict(dict)
        for write in self.writes:
            if write.part == LIFE:
                lives[write.key][write.number] = write
        for read in self.reads:
            if read.key not in lives:
                continue
            states = lives[read.key]
            answered = max((n for n, w in states.items() if _at(self._counts_from(w)) < read.began), default=-1)
            begun = max((n for n, w in states.items() if w.began < read.ended), default=-1)
            seen = read.parts.get(LIFE)
            # Nobody may be found in an odd state only, from the newest that was answered to the newest that has begun.
            last_absent = begun if begun % 2 else begun - 1
            if (last_absent < answered) if seen is None else not answered <= seen <= begun:
                yield f"life: {answered} had been answered and {begun} had begun: {read}"


def _at(moment: float | None) -> float:
    return float("inf") if moment is None else moment
