"""What is done with each block of customers, in a night's third phase and in a look at single ones: its parts.

segments          who enters and leaves what             profiles.segments.part
recommendations   what to do next about whom             profiles.recommendations.part

The parts share one block of facts and one transaction. A later part reads what an earlier one has found: conditions of
recommendation rules may ask for segments.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from profiles.rules import Needs
from profiles.totals import Block

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Judged(Protocol):
    """What a part found out about a block. touched: of which of its customers anything is to be written."""

    touched: "NDArray[Any]"


class Part(Protocol):
    """One of the things that are done with each block. needs: the facts that it reads of it."""

    @property
    def is_active(self) -> bool: ...
    @property
    def needs(self) -> Needs: ...
    def judge(self, block: Block) -> Any: ...
    def write(self, cursor: Any, judged: Any, rows: "NDArray[Any]") -> int: ...


def needs_of(parts: Iterable[Part]) -> Needs:
    """Return the facts that any of the parts reads."""
    needs = Needs()
    for part in parts:
        needs |= part.needs
    return needs


def do_parts(cursor: Any, parts: Iterable[Part], block: Block) -> int:
    """Judge a block and write what differs. Returns how many rows were written.

    Database: in the open transaction on the block's home, which holds the bucket's lock.
    """
    written = 0
    for part in parts:
        judged = part.judge(block)
        rows = judged.touched.nonzero()[0]
        if len(rows):
            written += part.write(cursor, judged, rows)
    return written
