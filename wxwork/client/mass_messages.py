"""Mass messages (企业群发): tasks for staff, who send them by a tap. Docs 92135, 93338, 97610, 97611.

LaterError 41063 right after the creation: ask again in half a minute.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from wxwork.client import arguments
from wxwork.client.calls import Calls, need_one_of

PREFIX = "/cgi-bin/externalcontact"
ADD, LIST = f"{PREFIX}/add_msg_template", f"{PREFIX}/get_groupmsg_list_v2"
TASKS, RESULTS = f"{PREFIX}/get_groupmsg_task", f"{PREFIX}/get_groupmsg_send_result"
REMIND, CANCEL = f"{PREFIX}/remind_groupmsg_send", f"{PREFIX}/cancel_groupmsg_send"
CUSTOMERS_A_TASK, GROUPS_A_TASK = 10_000, 2_000
TAGS_A_GROUP = 100
TEXT_BYTES = 4_000
MONTH_SECONDS = 31 * 86_400
RECORDS_PAGE, TASKS_PAGE = 100, 1_000


class MassMessageCalls(Calls):
    def add_mass_message(
        self,
        *,
        external_userids: Iterable[str] = (),
        chat_ids: Iterable[str] = (),
        tag_groups: Sequence[Iterable[str]] = (),
        sender: str | None = None,
        text: str = "",
        attachments: Iterable[Mapping[str, Any]] | None = None,
        allow_select: bool = False,
    ) -> dict[str, Any]:
        """Make a task for staff to send a message (doc 92135). Returns {"msgid", "fail_list"}.

        To customers (10 000, or those of a sender, or by tags: any of each group, 100 a group), or to groups of a
        sender (2 000). text: 4 000 bytes; attachments: 9. Not repeated after a timeout: it would be sent twice.
        BusinessError 41048: nobody to send it to.
        """
        to_groups = arguments.identifiers("chat_ids", chat_ids, at_most=GROUPS_A_TASK, at_least=0)
        to = arguments.identifiers("external_userids", external_userids, at_most=CUSTOMERS_A_TASK, at_least=0)
        tags = [arguments.identifiers("tag_groups", group, at_most=TAGS_A_GROUP) for group in tag_groups]
        files = arguments.attachments(attachments)
        content = arguments.text("text", text, max_bytes=TEXT_BYTES)
        need_one_of(text=content, attachments=files)
        if to_groups:
            need_one_of(sender=sender)
        else:
            need_one_of(external_userids=to, tag_groups=tags, sender=sender)
        body = {
            "chat_type": "group" if to_groups else "single",
            "external_userid": to or None,
            "chat_id_list": to_groups or None,
            "tag_filter": {"group_list": [{"tag_list": group} for group in tags]} if tags else None,
            "sender": None if sender is None else arguments.identifier("sender", sender),
            "allow_select": allow_select or None,
            "text": {"content": content} if content else None,
            "attachments": files or None,
        }
        return self._post(ADD, body, is_repeatable=False)

    def iter_mass_messages(
        self,
        *,
        start_time: int,
        end_time: int,
        chat_type: str = "single",
        creator: str | None = None,
        filter_type: int = 2,
    ) -> Iterator[dict[str, Any]]:
        """Yield the tasks made between two Unix times, a month apart at most (doc 93338).

        chat_type: single, group. filter_type: 0 the company's, 1 those of staff, 2 both. create_time may be a text.
        """
        start, end = _span(start_time, end_time)
        body = {
            "chat_type": arguments.choice("chat_type", chat_type, ("single", "group")),
            "start_time": start,
            "end_time": end,
            "creator": None if creator is None else arguments.identifier("creator", creator),
            "filter_type": arguments.choice("filter_type", filter_type, (0, 1, 2)),
            "limit": RECORDS_PAGE,
        }
        for answer in self._pages(lambda at: self._post(LIST, {**body, "cursor": at}), "group_msg_list", LIST):
            yield from answer["group_msg_list"]

    def iter_mass_message_tasks(self, msgid: str) -> Iterator[dict[str, Any]]:
        """Yield {userid, status, send_time} of the staff who are to send it: 0 not yet, 2 sent (doc 93338)."""
        body = {"msgid": _msgid(msgid), "limit": TASKS_PAGE}
        for answer in self._pages(lambda at: self._post(TASKS, {**body, "cursor": at}), "task_list", TASKS):
            yield from answer["task_list"]

    def iter_mass_message_results(self, msgid: str, userid: str) -> Iterator[dict[str, Any]]:
        """Yield {external_userid | chat_id, userid, status, send_time} of what one member has sent (doc 93338).

        status: 0 not sent, 1 sent, 2 no friend any more, 3 had another mass message already.
        """
        body = {"msgid": _msgid(msgid), "userid": arguments.identifier("userid", userid), "limit": TASKS_PAGE}
        for answer in self._pages(lambda at: self._post(RESULTS, {**body, "cursor": at}), "send_list", RESULTS):
            yield from answer["send_list"]

    def remind_mass_message(self, msgid: str) -> None:
        """Remind the staff who have not sent it, three times in 24 h: BusinessError 41094 (doc 97610)."""
        self._post(REMIND, {"msgid": _msgid(msgid)}, is_repeatable=False)

    def cancel_mass_message(self, msgid: str) -> None:
        """Stop it for those who have not sent it. BusinessError 41093: it has been stopped (doc 97611)."""
        self._post(CANCEL, {"msgid": _msgid(msgid)})


def _msgid(msgid: str) -> str:
    return arguments.identifier("msgid", msgid, max_bytes=128)


def _span(start_time: int, end_time: int) -> tuple[int, int]:
    start, end = arguments.seconds("start_time", start_time), arguments.seconds("end_time", end_time)
    arguments.number("end_time - start_time", end - start, lowest=0, highest=MONTH_SECONDS)
    return start, end
