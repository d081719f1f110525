"""What a block of customers is in, and writing it: in phase 3 of a run, at once for some, for a changed definition."""

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import structlog
from django.utils import timezone

from profiles.days import day_of
from profiles.models import ProfileRun
from profiles.rules import CentFacts, Needs, holds
from profiles.segments.definitions import Plan, read_plan
from profiles.segments.writing import write_changes
from profiles.totals import Block

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = NDArray[Any]

logger = structlog.get_logger(__name__)


@dataclass
class Judged:
    """A block and who enters and leaves what: {segment: bool column}. touched: whether of somebody anything is.

    broken: {segment: (name, reason)} of what could not be judged; its members stay.
    """

    block: Block
    touched: "Column"
    entered: "dict[int, Column]" = field(default_factory=dict)
    left: "dict[int, Column]" = field(default_factory=dict)
    broken: dict[int, tuple[str, str]] = field(default_factory=dict)


def as_of_now() -> date:
    """Return what segments are judged as of: a window of W days is today and the W-1 days before."""
    return day_of(timezone.now()) + timedelta(days=1)


def needs_of_plan(plan: Plan) -> Needs:
    """Return the facts that judging and comparing with what is stored read, memberships among them."""
    return plan.needs | Needs(frozenset(f"segment:{one}" for one in plan.stored))


def judge_block(plan: Plan, block: Block, as_of: date) -> Judged:
    """Judge every customer of a block, whose facts are those of needs_of_plan. Pure but for the log.

    The block's segment:<id> facts are what is stored before, and what is so after: later parts read them.
    """
    import numpy as np

    judged = Judged(block, np.zeros(len(block), dtype=bool))
    facts = CentFacts(block.facts)
    facts["customer_id"] = block.column["customer_id"]  # of whatever length there is, also where nothing is compared
    for definition in plan.judged:
        key = f"segment:{definition.segment_id}"
        before = block.facts[key]
        try:
            after = holds(definition.filter, facts, as_of)
        except Exception as error:
            # A fault of ours, of one segment: the others must not pay for it.
            logger.exception("segment_not_judged", segment=definition.segment_id)
            judged.broken[definition.segment_id] = (definition.name, f"计算出错：{type(error).__name__}: {error}"[:500])
            continue
        facts[key] = block.facts[key] = after
        entered, left = after & ~before, before & ~after
        if entered.any():
            judged.entered[definition.segment_id] = entered
        if left.any():
            judged.left[definition.segment_id] = left
        judged.touched |= entered | left
    return judged


def write_judged(cursor: Any, bucket: int, judged: Judged, rows: "Column", *, cause: str) -> int:
    """Write who of some rows enters and leaves. Returns how many changes were written. See writing.write_changes."""
    ids = judged.block.column["customer_id"]

    def pairs(found: "dict[int, Column]") -> list[tuple[int, int]]:
        return [(int(one), segment) for segment, flags in found.items() for one in ids[rows[flags[rows]]].tolist()]

    came, went = write_changes(
        cursor, bucket, pairs(judged.entered), pairs(judged.left), cause=cause, today=day_of(timezone.now())
    )
    return came.total() + went.total()


class SegmentPart:
    """Judges and writes who is in which dynamic segment. Without segments in use it is not active.

    The plan is read anew for each block, after the bucket's lock: what was saved before that is judged by, and for what
    is saved later a computation of its own takes the lock after this one.
    run: None for a look at single customers.
    """

    def __init__(self, run: ProfileRun | None, home: int, bucket: int) -> None:
        self.cause, self.home, self.bucket = f"run:{run.pk}" if run else "live", home, bucket
        self.broken: dict[int, tuple[str, str]] = {}
        self.versions: dict[int, int] = {}
        self.reload()

    def reload(self) -> None:
        """Read what is to be judged now. Database: one query on the control database."""
        self.plan = read_plan()
        judged = {one.segment_id: one.version for one in self.plan.judged}
        # Whoever was broken and has been mended since is judged as another version, or for the first time.
        mended = {one for one, version in judged.items() if self.versions.get(one) != version}
        self.broken = {one: why for one, why in self.broken.items() if one not in mended} | dict(self.plan.broken)
        self.versions = judged

    @property
    def known(self) -> frozenset[int]:
        """All segments that there are."""
        return self.plan.known

    @property
    def is_active(self) -> bool:
        return bool(self.plan.judged)

    @property
    def needs(self) -> Needs:
        return needs_of_plan(self.plan)

    def judge(self, block: Block) -> Judged:
        judged = judge_block(self.plan, block, as_of_now())
        self.broken |= judged.broken
        return judged

    def write(self, cursor: Any, judged: Judged, rows: "Column") -> int:
        return write_judged(cursor, self.bucket, judged, rows, cause=self.cause)
