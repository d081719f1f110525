"""How far a sync is, for whoever shows it."""

from dataclasses import dataclass

from wxwork import budget
from wxwork.client.customers import BATCH
from wxwork.models import SyncBatch, SyncRun

STEPS = {
    "departments": "部门",
    "staff": "员工",
    "unassigned": "离职员工的客户",
    "tags": "标签库",
    "members": "成员名单",
    "customers": "客户",
    "groups": "客户群",
}


@dataclass(frozen=True)
class SyncProgress:
    """step: the one it is at, in words; empty at the end. share: from 0 to 1, by calls. waits_seconds: for WeCom."""

    step: str
    steps_done: int
    batches: int
    batches_done: int
    pages: int
    calls_made: int
    calls_expected: int
    relations: int
    waits_seconds: float

    @property
    def share(self) -> float:
        if not self.step:
            return 1.0
        # By calls, and never done before it is.
        return min(0.99, self.calls_made / self.calls_expected) if self.calls_expected else 0.0


def progress_of(run: SyncRun) -> SyncProgress:
    """Return how far a run is. Database: one query on control. Redis: what is left of the budget."""
    batches = list(SyncBatch.objects.filter(run=run).values_list("is_done", "pages"))
    step = next((words for name, words in STEPS.items() if name not in run.steps_done), "")
    usage = budget.usage().get(BATCH) if run.state == SyncRun.State.RUNNING else None
    return SyncProgress(
        step="" if run.state == SyncRun.State.DONE else step,
        steps_done=len(run.steps_done),
        batches=len(batches),
        batches_done=sum(is_done for is_done, _pages in batches),
        pages=sum(pages for _is_done, pages in batches),
        calls_made=run.calls_made,
        calls_expected=run.calls_expected,
        relations=run.counts.get("relations", 0),
        waits_seconds=usage.open_seconds if usage else 0.0,
    )
