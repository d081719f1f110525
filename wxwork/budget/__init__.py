"""Keep calls to WeCom below its limits, API by API, over all processes.

    with turn(corp_id, "/cgi-bin/user/get", deadline=time.monotonic() + 5):    waits for room, at the longest until then
        …one call…                                                             what it raises tells how it went

rule                      WeCom's              ours (settings)                kept by
calls of a minute         10 000               WXWORK_CALLS_PER_MINUTE        a bucket: calls go evenly
calls of an hour          150 000              WXWORK_CALLS_PER_HOUR          a bucket
under way at once         not published        WXWORK_CALLS_AT_ONCE           leases; halved on 45033, one back each 5 s
45009                     60 s, 60 min, a day  WXWORK_BLOCK_SECONDS × 1, 60   a circuit: nobody calls meanwhile
writes on a relation      one (45035)          one                            a lease

45009 does not say which rule was broken. It is taken for the minute's; for the hour's if we have counted that many
calls, or at the third time that the first call after a block is refused too; for the day's at the fifth.

With Redis down each process keeps to a sixteenth of it alone, and to the circuits that it knew of.
"""

from wxwork.budget.shares import ApiUsage, expected_seconds, limits, show_in_metrics, turn, usage

__all__ = ["ApiUsage", "expected_seconds", "limits", "show_in_metrics", "turn", "usage"]
