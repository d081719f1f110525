"""Customer groups (客户群), and the codes by which one joins them. Docs 92120, 92122, 92133, 92229, 94822."""

from collections.abc import Iterable, Iterator
from typing import Any

from wxwork.client import arguments
from wxwork.client.calls import Calls, list_in, object_in

PREFIX = "/cgi-bin/externalcontact/groupchat"
LIST, GET = f"{PREFIX}/list", f"{PREFIX}/get"
BY_OWNER, BY_DAY = f"{PREFIX}/statistic", f"{PREFIX}/statistic_group_by_day"
JOIN_WAY = {what: f"{PREFIX}/{what}_join_way" for what in ("add", "get", "update", "del")}
OPENGID = "/cgi-bin/externalcontact/opengid_to_chatid"
OWNERS = 100
PAGE = 1_000
GROUPS_OF_A_WAY = 5
STATISTIC_SECONDS = 30 * 86_400


class GroupCalls(Calls):
    def list_groups(
        self, owners: Iterable[str] = (), *, status: int = 0, cursor: str = "", limit: int = PAGE
    ) -> dict[str, Any]:
        """Return a page of groups: {"group_chat_list": [{chat_id, status}], "next_cursor"} (doc 92120).

        owners: 100 userids at most; without any, all that are visible, which 81017 refuses to a company of more than
        1 000. Groups of owners who left are told only when asked for by name. status: 0 all, 1 owner left, 2 being
        handed over, 3 handed over.
        """
        names = arguments.identifiers("owners", owners, at_most=OWNERS, at_least=0)
        body = {
            "status_filter": arguments.choice("status", status, (0, 1, 2, 3)),
            "owner_filter": {"userid_list": names} if names else None,
            "cursor": arguments.cursor(cursor),
            "limit": arguments.number("limit", limit, lowest=1, highest=PAGE),
        }
        answer = self._post(LIST, body)
        list_in(answer, "group_chat_list", LIST)
        return answer

    def iter_groups(self, owners: Iterable[str] = (), *, status: int = 0) -> Iterator[dict[str, Any]]:
        """Yield {chat_id, status} of all groups of any number of owners, 100 of them a call."""
        names = list(owners)
        for piece in arguments.chunks(names, OWNERS) if names else [[]]:
            page = self._pages(lambda at, piece=piece: self.list_groups(piece, status=status, cursor=at),  # type: ignore[misc]
                               "group_chat_list", LIST)  # fmt: skip
            for answer in page:
                yield from answer["group_chat_list"]

    def get_group(self, chat_id: str) -> dict[str, Any]:
        """Return a group with all its members and their names (doc 92122).

        Right after a callback it may be older than that: compare member_version. DataError 49008: dissolved; 90501: no
        customer group.
        """
        body = {"chat_id": arguments.identifier("chat_id", chat_id), "need_name": 1}
        return object_in(self._post(GET, body), "group_chat", GET)

    def list_group_statistics(
        self,
        owners: Iterable[str],
        *,
        day_begin_time: int,
        day_end_time: int | None = None,
        order_by: int = 1,
        is_ascending: bool = False,
    ) -> list[dict[str, Any]]:
        """Return [{owner, data}] of 1 to 100 owners (doc 92133); the last 180 days without today, 30 at a time.

        Times: Unix seconds of a day's beginning in China. order_by: 1 new groups, 2 groups, 3 new members, 4 members.
        """
        body = {
            **_days(owners, day_begin_time, day_end_time),
            "order_by": arguments.choice("order_by", order_by, (1, 2, 3, 4)),
            "order_asc": int(is_ascending),
            "limit": PAGE,
        }
        found: list[dict[str, Any]] = []
        while True:
            answer = self._post(BY_OWNER, {**body, "offset": len(found)})
            items = list_in(answer, "items", BY_OWNER)
            found += items
            if not items or len(found) >= answer.get("total", 0):
                return found

    def list_group_statistics_by_day(
        self, owners: Iterable[str], *, day_begin_time: int, day_end_time: int | None = None
    ) -> list[dict[str, Any]]:
        """Return [{stat_time, data}] of 1 to 100 owners together, day by day (doc 92133)."""
        return list_in(self._post(BY_DAY, _days(owners, day_begin_time, day_end_time)), "items", BY_DAY)

    def add_join_way(
        self,
        chat_ids: Iterable[str],
        *,
        scene: int = 2,
        remark: str | None = None,
        state: str | None = None,
        is_making_rooms: bool = True,
        room_base_name: str | None = None,
        room_base_id: int | None = None,
    ) -> str:
        """Make a code to join 1 to 5 groups, and return its config_id (doc 92229). Not repeated after a timeout.

        remark, state: 30 characters; room_base_name: 40. is_making_rooms: a new group once they are full.
        """
        body = _join_way(chat_ids, scene, remark, state, is_making_rooms, room_base_name, room_base_id)
        return str(self._post(JOIN_WAY["add"], body, is_repeatable=False).get("config_id", ""))

    def get_join_way(self, config_id: str) -> dict[str, Any]:
        """Return a code to join groups, with its qr_code. DataError 41044: there is none."""
        return object_in(self._post(JOIN_WAY["get"], {"config_id": _config(config_id)}), "join_way", JOIN_WAY["get"])

    def update_join_way(
        self,
        config_id: str,
        chat_ids: Iterable[str],
        *,
        scene: int = 2,
        remark: str | None = None,
        state: str | None = None,
        is_making_rooms: bool = True,
        room_base_name: str | None = None,
        room_base_id: int | None = None,
    ) -> None:
        """Replace a code to join groups: what is left out falls back to WeCom's default."""
        body = _join_way(chat_ids, scene, remark, state, is_making_rooms, room_base_name, room_base_id)
        self._post(JOIN_WAY["update"], {"config_id": _config(config_id), **body})

    def delete_join_way(self, config_id: str) -> None:
        """Delete a code to join groups."""
        self._post(JOIN_WAY["del"], {"config_id": _config(config_id)})

    def find_chat_id(self, opengid: str) -> str:
        """Return the chat_id of a group that a mini-program knows by its opengid (doc 94822)."""
        return str(self._post(OPENGID, {"opengid": arguments.identifier("opengid", opengid)}).get("chat_id", ""))


def _config(config_id: str) -> str:
    return arguments.identifier("config_id", config_id)


def _days(owners: Iterable[str], begin: int, end: int | None) -> dict[str, Any]:
    first = arguments.seconds("day_begin_time", begin)
    last = first if end is None else arguments.seconds("day_end_time", end)
    arguments.number("day_end_time - day_begin_time", last - first, lowest=0, highest=STATISTIC_SECONDS)
    return {
        "day_begin_time": first,
        "day_end_time": last,
        "owner_filter": {"userid_list": arguments.identifiers("owners", owners, at_most=OWNERS)},
    }


def _join_way(
    chat_ids: Iterable[str],
    scene: int,
    remark: str | None,
    state: str | None,
    is_making_rooms: bool,
    room_base_name: str | None,
    room_base_id: int | None,
) -> dict[str, Any]:
    return {
        "scene": arguments.choice("scene", scene, (1, 2)),
        "chat_id_list": arguments.identifiers("chat_ids", chat_ids, at_most=GROUPS_OF_A_WAY),
        "remark": arguments.optional("remark", remark, max_characters=30),
        "state": arguments.optional("state", state, max_characters=30),
        "auto_create_room": int(is_making_rooms),
        "room_base_name": arguments.optional("room_base_name", room_base_name, max_characters=40),
        "room_base_id": None
        if room_base_id is None
        else arguments.number("room_base_id", room_base_id, lowest=0, highest=2**31 - 1),
    }
