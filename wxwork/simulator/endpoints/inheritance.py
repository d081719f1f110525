"""Contract §4.J: handing customers over, of active members and of those who have left."""

from typing import Any

from wxwork.simulator.acts.registry import Doing
from wxwork.simulator.answers import Refused
from wxwork.simulator.endpoints.registry import Call, endpoint
from wxwork.simulator.state import Staff, Transfer
from wxwork.simulator.transfers import DONE, WAIT_SECONDS, WAITING, settle_transfers

QUARTER = 90 * 86_400
ROWS = 1000


def _taker(call: Call) -> Staff:
    taker = call.state.serving(call.text("takeover_userid", missing=41009))
    if not taker.is_verified:
        raise Refused(40098)
    return taker


def _ask(call: Call, handover: str, taker: Staff, *, resigned: bool) -> dict[str, Any]:
    external_userids = call.texts("external_userid", most=100, required=True)
    call.text("transfer_success_msg", required=False, chars=200)
    rows = []
    for external_userid in external_userids:
        code = _refusal(call, handover, taker, external_userid, resigned=resigned)
        if not code:
            call.state.transfers.append(
                Transfer(handover, taker.userid, external_userid, WAITING, call.now + WAIT_SECONDS, resigned)
            )
        rows.append({"external_userid": external_userid, "errcode": code})
    return {"customer": rows}


def _refusal(call: Call, handover: str, taker: Staff, external_userid: str, *, resigned: bool) -> int:
    """Return why this customer cannot be handed over, or 0."""
    state = call.state
    if external_userid not in state.customers:
        return 40096
    if resigned:
        there = any((u.handover_userid, u.external_userid) == (handover, external_userid) for u in state.unassigned)
    else:
        relation = state.staff[handover.lower()].relations.get(external_userid)
        there = relation is not None and relation.is_readable
    if not there:
        return 84061
    mine = [transfer for transfer in state.transfers if transfer.external_userid == external_userid]
    if any(transfer.status == WAITING for transfer in mine):
        return 40100
    recent = [t for t in mine if t.status == DONE and t.takeover_time > call.now - QUARTER]
    if len(recent) >= 2:
        return 40128
    return 40099 if len(taker.relations) >= taker.customer_limit else 0


@endpoint("POST", "/cgi-bin/externalcontact/transfer_customer", app="customers")
def transfer_customer(call: Call) -> dict[str, Any]:
    giver = call.state.serving(call.text("handover_userid", missing=41009))
    taker = _taker(call)
    if giver is taker:
        raise Refused(40058)
    return _ask(call, giver.userid, taker, resigned=False)


@endpoint("POST", "/cgi-bin/externalcontact/resigned/transfer_customer", app="customers")
def resigned_transfer_customer(call: Call) -> dict[str, Any]:
    handover = call.text("handover_userid", missing=41009)
    if call.state.find_staff(handover) is not None:
        raise Refused(40097)
    left = call.state.left.get(handover.lower())
    if left is None:
        raise Refused(60111)
    return _ask(call, left.userid, _taker(call), resigned=True)


def _results(call: Call, *, resigned: bool) -> dict[str, Any]:
    settle_transfers(Doing(call.corp))
    handover = call.text("handover_userid", missing=41009).lower()
    takeover = call.text("takeover_userid", missing=41009).lower()
    # The last transfer of each customer between the two.
    last = {
        t.external_userid: t
        for t in call.state.transfers
        if t.resigned is resigned and (t.handover_userid.lower(), t.takeover_userid.lower()) == (handover, takeover)
    }
    page, cursor = call.page(list(last.values()), ROWS)
    rows = [{"external_userid": t.external_userid, "status": t.status, "takeover_time": t.takeover_time} for t in page]
    return {"customer": rows, "next_cursor": cursor}


@endpoint("POST", "/cgi-bin/externalcontact/transfer_result", app="customers", fail_extra={"customer": []})
def transfer_result(call: Call) -> dict[str, Any]:
    return _results(call, resigned=False)


@endpoint("POST", "/cgi-bin/externalcontact/resigned/transfer_result", app="customers", fail_extra={"customer": []})
def resigned_transfer_result(call: Call) -> dict[str, Any]:
    return _results(call, resigned=True)


@endpoint("POST", "/cgi-bin/externalcontact/get_unassigned_list", app="customers", fail_extra={"info": []})
def get_unassigned_list(call: Call) -> dict[str, Any]:
    size = call.number("page_size", default=ROWS)
    size = size if 0 < size <= ROWS else ROWS
    page_id = call.number("page_id", default=0)
    if page_id < 0 or page_id * size >= 50_000:
        raise Refused(40058)
    newest_first = sorted(call.state.unassigned, key=lambda one: -one.dimission_time)
    rows = [
        {
            "handover_userid": one.handover_userid,
            "external_userid": one.external_userid,
            "dimission_time": one.dimission_time,
        }
        for one in newest_first[page_id * size if not call.body.get("cursor") else 0 :]
    ]
    page, cursor = call.page(rows, size)
    return {"info": page, "is_last": not cursor, "next_cursor": cursor}
