"""Customers changing hands: 24 hours after the API has been asked, unless the customer refuses.

Who has waited long enough is settled when the clock is advanced, and whenever results are asked for.
"""

from wxwork.simulator.acts.customers import EVENT, begin_taken, move_relation
from wxwork.simulator.acts.registry import Doing
from wxwork.simulator.state import Transfer

DONE, WAITING, REFUSED, LIMIT_REACHED = 1, 2, 3, 4
WAIT_SECONDS = 24 * 3600
FAIL_REASONS = {REFUSED: "customer_refused", LIMIT_REACHED: "customer_limit_exceed"}


def settle_transfers(doing: Doing) -> int:
    """Complete the transfers whose time has come. Returns how many."""
    due = [t for t in doing.state.transfers if t.status == WAITING and t.takeover_time <= doing.now]
    for transfer in due:
        _complete(doing, transfer)
    return len(due)


def _complete(doing: Doing, transfer: Transfer) -> None:
    taker = doing.state.find_staff(transfer.takeover_userid)
    if taker is None or len(taker.relations) >= taker.customer_limit:
        fail_transfer(doing, transfer, LIMIT_REACHED)
        return
    transfer.status = DONE
    if transfer.resigned:
        _take_unassigned(doing, transfer)
        return
    giver = doing.state.find_staff(transfer.handover_userid)
    if giver is not None and transfer.external_userid in giver.relations:
        move_relation(doing, giver, taker, transfer.external_userid)


def _take_unassigned(doing: Doing, transfer: Transfer) -> None:
    taker = doing.staff(transfer.takeover_userid)
    for left in list(doing.state.unassigned):
        if (left.handover_userid, left.external_userid) == (transfer.handover_userid, transfer.external_userid):
            doing.state.unassigned.remove(left)
            begin_taken(doing, left.relation, taker, transfer.external_userid)
            doing.tell(EVENT, "add_external_contact", UserID=taker.userid, ExternalUserID=transfer.external_userid)
            return


def fail_transfer(doing: Doing, transfer: Transfer, status: int) -> None:
    """Let a transfer come to nothing, and tell of it."""
    transfer.status = status
    doing.tell(
        EVENT,
        "transfer_fail",
        FailReason=FAIL_REASONS[status],
        UserID=transfer.takeover_userid,
        ExternalUserID=transfer.external_userid,
    )
