"""Contact ways (联系我, 渠道活码): codes by which customers add staff, with a state that tells where from. Doc 92228.

WeCom's admin shows none of those made here: keep the config_id before anything else.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from wxwork.client import arguments
from wxwork.client.calls import Calls, need_one_of, object_in
from wxwork.client.customers import relation_of

PREFIX = "/cgi-bin/externalcontact"
ADD, GET, LIST = f"{PREFIX}/add_contact_way", f"{PREFIX}/get_contact_way", f"{PREFIX}/list_contact_way"
UPDATE, DELETE = f"{PREFIX}/update_contact_way", f"{PREFIX}/del_contact_way"
CLOSE = f"{PREFIX}/close_temp_chat"
SINGLE, SEVERAL = 1, 2
MINI_PROGRAM, QR_CODE = 1, 2
MEMBERS = 100
TEXT_CHARACTERS = 30
MAX_TEMPORARY_SECONDS = 14 * 86_400
PAGE = 1_000


class ContactWayCalls(Calls):
    def add_contact_way(
        self,
        *,
        users: Iterable[str] = (),
        departments: Iterable[int] = (),
        scene: int = QR_CODE,
        state: str | None = None,
        remark: str | None = None,
        skip_verify: bool = True,
        style: int | None = None,
        is_exclusive: bool = False,
        is_temporary: bool = False,
        expires_in_seconds: int | None = None,
        chat_expires_in_seconds: int | None = None,
        unionid: str | None = None,
        conclusions: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Make a contact way. Returns {"config_id", "qr_code" (scene 2 only)}. Not repeated after a timeout.

        users, departments: 100 members in all, departments counted by theirs; a single user makes it one of type 1.
        state, remark: 30 characters. is_temporary: a temporary chat with one member (medical industry only), whose code
        and chat expire after so many seconds, 14 days at most. BusinessError 41045: the quota of 500 000 is full.
        """
        members = arguments.identifiers("users", users, at_most=MEMBERS, at_least=0)
        parties = [arguments.department("departments", one) for one in departments]
        need_one_of(users=members, departments=parties)
        kind = SINGLE if len(members) == 1 and not parties else SEVERAL
        body = {
            "type": kind,
            "scene": arguments.choice("scene", scene, (MINI_PROGRAM, QR_CODE)),
            "is_temp": is_temporary or None,
            "is_exclusive": is_exclusive or None,
            **_changeable(
                users=members,
                departments=parties if kind == SEVERAL else None,
                state=state,
                remark=remark,
                skip_verify=skip_verify,
                style=style,
                expires_in_seconds=expires_in_seconds,
                chat_expires_in_seconds=chat_expires_in_seconds,
                unionid=unionid,
                conclusions=conclusions,
            ),
        }
        return self._post(ADD, body, is_repeatable=False)

    def get_contact_way(self, config_id: str) -> dict[str, Any]:
        """Return a contact way with all its fields. DataError 41044: there is none."""
        return object_in(self._post(GET, {"config_id": _config(config_id)}), "contact_way", GET)

    def iter_contact_ways(self, *, start_time: int | None = None, end_time: int | None = None) -> Iterator[str]:
        """Yield the config_ids of the ways made between two Unix times; WeCom's default is the last 90 days."""
        start = None if start_time is None else arguments.seconds("start_time", start_time)
        end = None if end_time is None else arguments.seconds("end_time", end_time)

        def page(cursor: str) -> dict[str, Any]:
            return self._post(LIST, {"start_time": start, "end_time": end, "cursor": cursor, "limit": PAGE})

        for answer in self._pages(page, "contact_way", LIST):
            yield from (one["config_id"] for one in answer["contact_way"])

    def update_contact_way(
        self,
        config_id: str,
        *,
        users: Iterable[str] | None = None,
        departments: Iterable[int] | None = None,
        state: str | None = None,
        remark: str | None = None,
        skip_verify: bool | None = None,
        style: int | None = None,
        expires_in_seconds: int | None = None,
        chat_expires_in_seconds: int | None = None,
        unionid: str | None = None,
        conclusions: Mapping[str, Any] | None = None,
    ) -> None:
        """Change a contact way; users, departments and remark replace what was. Type and scene stay."""
        members = None if users is None else arguments.identifiers("users", users, at_most=MEMBERS, at_least=0)
        parties = None if departments is None else [arguments.department("departments", one) for one in departments]
        body = _changeable(
            users=members,
            departments=parties,
            state=state,
            remark=remark,
            skip_verify=skip_verify,
            style=style,
            expires_in_seconds=expires_in_seconds,
            chat_expires_in_seconds=chat_expires_in_seconds,
            unionid=unionid,
            conclusions=conclusions,
        )
        self._post(UPDATE, {"config_id": _config(config_id), **body})

    def delete_contact_way(self, config_id: str) -> None:
        """Delete a contact way. DataError 41044: there is none, or not any more."""
        self._post(DELETE, {"config_id": _config(config_id)})

    def close_temporary_chat(self, userid: str, external_userid: str) -> None:
        """End a temporary chat; its conclusions are sent first."""
        body = {
            "userid": arguments.identifier("userid", userid),
            "external_userid": arguments.identifier("external_userid", external_userid),
        }
        self._post(CLOSE, body, is_repeatable=False, relation=relation_of(userid, external_userid))


def _config(config_id: str) -> str:
    return arguments.identifier("config_id", config_id)


def _changeable(
    *,
    users: list[str] | None,
    departments: list[int] | None,
    state: str | None,
    remark: str | None,
    skip_verify: bool | None,
    style: int | None,
    expires_in_seconds: int | None,
    chat_expires_in_seconds: int | None,
    unionid: str | None,
    conclusions: Mapping[str, Any] | None,
) -> dict[str, Any]:
    return {
        "user": users,
        "party": departments,
        "state": arguments.optional("state", state, max_characters=TEXT_CHARACTERS),
        "remark": arguments.optional("remark", remark, max_characters=TEXT_CHARACTERS),
        "skip_verify": skip_verify,
        "style": None if style is None else arguments.number("style", style, lowest=1, highest=99),
        "expires_in": _temporary("expires_in_seconds", expires_in_seconds),
        "chat_expires_in": _temporary("chat_expires_in_seconds", chat_expires_in_seconds),
        "unionid": arguments.optional("unionid", unionid, max_bytes=64),
        "conclusions": None if conclusions is None else dict(conclusions),
    }


def _temporary(name: str, value: int | None) -> int | None:
    return None if value is None else arguments.number(name, value, lowest=1, highest=MAX_TEMPORARY_SECONDS)
