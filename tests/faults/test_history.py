"""The checker itself: each promise is broken once in a made-up history, and is found to be."""

import json
from pathlib import Path

import pytest

from tests.faults.history import History, Read, Write


def read(began: float, ended: float, version: int = 1, **parts: int) -> Read:
    return Read("wm1", began, ended, "hit", version, parts)


def write(number: int, began: float, answered: float | None, part: str = "a0", *, is_owed: bool = False) -> Write:
    return Write("wm1", part, number, began, answered, is_owed)


FIRST, SECOND = write(1, 1.0, 2.0), write(2, 3.0, 4.0)


@pytest.mark.parametrize(
    ("reads", "writes", "settled"),
    [
        ([read(2.5, 2.6, a0=1), read(3.5, 3.6, a0=1), read(3.7, 3.8, 2, a0=2), read(4.5, 4.6, 2, a0=2)], [], []),
        ([read(3.9, 9.9, a0=1)], [], []),  # began before the second was answered
        ([read(5.0, 5.1, a0=2)], [write(3, 4.5, None)], []),  # its writer died
        ([read(5.0, 5.1, 3, a0=3), read(5.2, 5.3, 3, a0=3)], [write(3, 4.5, None)], []),
        ([read(7.0, 7.1, a0=2)], [write(3, 5.0, 6.0, is_owed=True)], [(5.5, 6.5), (6.5, 8.0)]),  # not settled yet
        ([read(7.0, 7.1, 2, a0=2), read(7.2, 7.3, 1, a0=1)][:1], [], []),
    ],
)
def test_what_is_promised(reads: list[Read], writes: list[Write], settled: list[tuple[float, float]]) -> None:
    assert History(reads, [FIRST, SECOND, *writes], settled=settled).find_faults() == []


@pytest.mark.parametrize(
    ("reads", "writes", "settled", "fault"),
    [
        ([read(4.5, 4.6, a0=1)], [], [], "older"),
        ([read(4.5, 4.6, 0)], [], [], "older"),
        ([read(2.2, 2.3, a0=2)], [], [], "unborn"),
        ([read(8.5, 8.6, a0=2)], [write(3, 5.0, 6.0, is_owed=True)], [(5.5, 6.5), (6.5, 8.0)], "older"),
        ([read(5.0, 5.1, a0=2, f0=1), read(5.2, 5.3, a0=2, f0=2)], [], [], "torn"),
        ([read(3.1, 3.2, 2, a0=2), read(3.3, 3.4, 1, a0=1)], [], [], "backwards"),
    ],
)
def test_what_breaks_a_promise(
    reads: list[Read], writes: list[Write], settled: list[tuple[float, float]], fault: str
) -> None:
    (found,) = History(reads, [FIRST, SECOND, *writes], settled=settled).find_faults()
    assert found.startswith(fault)


BORN, ERASED = write(0, 1.0, 2.0, "life"), write(1, 3.0, 4.0, "life")


@pytest.mark.parametrize(
    "seen",
    [
        read(0.1, 0.2, 0),
        read(0.1, 1.1, 0),
        read(0.1, 1.1, life=0),
        read(2.1, 2.2, life=0),
        read(3.1, 3.2, life=0),
        read(3.1, 3.2, 0),
        read(4.1, 4.2, 0),
    ],
)
def test_lives(seen: Read) -> None:
    assert History([seen], [BORN, ERASED]).find_faults() == []


@pytest.mark.parametrize("seen", [read(0.1, 0.2, life=0), read(2.1, 2.2, 0), read(4.1, 4.2, life=0)])
def test_who_is_alive_is_found_and_who_was_erased_is_not(seen: Read) -> None:
    assert any(fault.startswith("life") for fault in History([seen], [BORN, ERASED]).find_faults())


def test_logs_are_merged_and_what_the_dead_left_counts_as_unanswered(tmp_path: Path) -> None:
    lines = [
        ["began", {"key": "wm1", "part": "a0", "number": 1, "at": 1.0}],
        ["answered", {"key": "wm1", "part": "a0", "number": 1, "at": 2.0, "is_owed": False}],
        ["began", {"key": "wm1", "part": "a0", "number": 2, "at": 3.0}],
    ]
    log = tmp_path / "writer.log"
    log.write_text("".join(json.dumps(line) + "\n" for line in lines) + '["answered", {"key": "wm1", "pa')
    assert History.of([log]).writes == [FIRST, write(2, 3.0, None)]
