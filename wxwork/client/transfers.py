"""Hand customers and groups over to other staff (在职继承, 离职继承).

Docs 92125, 94088, 92124, 94081, 94082, 92127, 95703.

A transfer that was taken is only begun: after 24 h it is done, unless the customer refuses. None is repeated after a
timeout, because a customer can be handed over twice in 90 days only; ask for the result instead.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from wxwork.client import arguments
from wxwork.client.calls import Calls, list_in

PREFIX = "/cgi-bin/externalcontact"
ACTIVE, RESIGNED = f"{PREFIX}/transfer_customer", f"{PREFIX}/resigned/transfer_customer"
ACTIVE_RESULT, RESIGNED_RESULT = f"{PREFIX}/transfer_result", f"{PREFIX}/resigned/transfer_result"
UNASSIGNED = f"{PREFIX}/get_unassigned_list"
GROUPS_RESIGNED, GROUPS_ACTIVE = f"{PREFIX}/groupchat/transfer", f"{PREFIX}/groupchat/onjob_transfer"
A_CALL = 100
PAGE = 1_000


class TransferCalls(Calls):
    def transfer_customers(
        self,
        handover_userid: str,
        takeover_userid: str,
        external_userids: Iterable[str],
        *,
        message: str | None = None,
        has_left: bool = False,
    ) -> list[dict[str, Any]]:
        """Begin to hand over 1 to 100 customers; return [{external_userid, errcode}], 0 where it was taken.

        message: what the customer is told, 200 characters; not for staff who have left (has_left).
        """
        body = {
            **_between(handover_userid, takeover_userid),
            "external_userid": arguments.identifiers("external_userids", external_userids, at_most=A_CALL),
            "transfer_success_msg": None if has_left else arguments.optional("message", message, max_characters=200),
        }
        path = RESIGNED if has_left else ACTIVE
        return list_in(self._post(path, body, is_repeatable=False), "customer", path)

    def iter_transfer_results(
        self, handover_userid: str, takeover_userid: str, *, has_left: bool = False
    ) -> Iterator[dict[str, Any]]:
        """Yield {external_userid, status, takeover_time} of what was handed over between two.

        status: 1 done, 2 waiting, 3 refused, 4 the taker has too many, 5 no record.
        """
        path = RESIGNED_RESULT if has_left else ACTIVE_RESULT
        body = _between(handover_userid, takeover_userid)
        for answer in self._pages(lambda at: self._post(path, {**body, "cursor": at}), "customer", path):
            yield from answer["customer"]

    def iter_unassigned(self) -> Iterator[dict[str, Any]]:
        """Yield {handover_userid, external_userid, dimission_time} of those whose staff left, the newest first.

        The spelling of dimission_time is WeCom's.
        """

        def page(cursor: str) -> dict[str, Any]:
            return self._post(UNASSIGNED, {"cursor": cursor, "page_size": PAGE})

        for answer in self._pages(page, "info", UNASSIGNED):
            yield from answer["info"]

    def transfer_groups(
        self, chat_ids: Iterable[str], new_owner: str, *, has_left: bool = False
    ) -> list[dict[str, Any]]:
        """Hand over 1 to 100 groups; return those that were not: [{chat_id, errcode, errmsg}].

        has_left: the owner has left the company (else 90500, the other way round 90502). 300 a day for each new owner.
        """
        body = {
            "chat_id_list": arguments.identifiers("chat_ids", chat_ids, at_most=A_CALL),
            "new_owner": arguments.identifier("new_owner", new_owner),
        }
        path = GROUPS_RESIGNED if has_left else GROUPS_ACTIVE
        return self._post(path, body, is_repeatable=False).get("failed_chat_list") or []


def _between(handover_userid: str, takeover_userid: str) -> dict[str, Any]:
    return {
        "handover_userid": arguments.identifier("handover_userid", handover_userid),
        "takeover_userid": arguments.identifier("takeover_userid", takeover_userid),
    }
