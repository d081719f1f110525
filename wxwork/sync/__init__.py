"""Bring departments, staff, tags, customers and groups in step with WeCom, whatever callbacks told or did not tell.

              full                                      reconcile
for           the first time; after new settings        every night (WXWORK_RECONCILE_AT), and whenever in doubt
reads         departments and their members, the tag library, customers of staff who have left, every page of every
              member's customers; the list of a member's customers where numbers differ; groups
repairs       all that it finds to differ               the same
reports       counts: how much was made and changed     drift: each kind that differed, and how often
afterwards    nights begin: none runs before the first  -

calls         2 + departments, 2 for tags, 1 for each 1 000 customers waiting for new staff, 1 for the staff who serve
              customers, 1 for each 100 relations of each 100 members (at least one for each 100 members), and where
              something was lost 3 for the member; 1 for each 1 000 groups, and one for each group that is read

No read shows (NOT_SHOWN, named with each report): that a customer has removed a member of staff, whose callback was
missed; personal tags, which only a read of that one customer has; why a relation has ended; halves of an add; remarks
and tags that were changed and changed back.

Nothing is lost by absence, unless the calls succeeded, the list of a member's customers lacks somebody, a read of one
of these says so too, and the member is still listed among those who serve customers then. Staff who have left are
listed no more: their relations end (staff_left) only where WeCom names them in the list of those who wait for somebody
new. What is out of sight, because the visible range has shrunk, stays as it was seen last.

A run may be killed anywhere. Whoever takes it up - the next command, or a worker that the keeper wakes - goes on from
the last page whose customers were committed, so that each batch of 100 members repeats one page at most.

    start_sync("full", started_by="admin")     a run, or the one that is under way
    work_on(run)                               work on it to its end, unless somebody does
"""

from wxwork.sync.drift import DRIFT, NOT_SHOWN
from wxwork.sync.estimates import Estimate, estimate
from wxwork.sync.progress import SyncProgress, progress_of
from wxwork.sync.runs import SyncRefusedError, next_kind, start_sync, work_on

__all__ = [
    "DRIFT",
    "NOT_SHOWN",
    "Estimate",
    "SyncProgress",
    "SyncRefusedError",
    "estimate",
    "next_kind",
    "progress_of",
    "start_sync",
    "work_on",
]
