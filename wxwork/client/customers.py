"""Customers (客户): whom staff follow, and what is noted of them. Docs 92571, 92113, 92114, 92994, 92115, 93274."""

from collections.abc import Iterable, Sequence
from typing import Any

from wxwork.client import arguments
from wxwork.client.calls import Calls, list_in, need_one_of, next_cursor_of, object_in
from wxwork.errors import DataError

FOLLOW_STAFF = "/cgi-bin/externalcontact/get_follow_user_list"
LIST, GET = "/cgi-bin/externalcontact/list", "/cgi-bin/externalcontact/get"
BATCH = "/cgi-bin/externalcontact/batch/get_by_user"
REMARK = "/cgi-bin/externalcontact/remark"
NO_RELATION = 84061
BATCH_STAFF = BATCH_PAGE = 100


class CustomerCalls(Calls):
    def list_follow_staff(self) -> list[str]:
        """Return the userids that may have customers and are in the visible range (doc 92571)."""
        return list_in(self._get(FOLLOW_STAFF), "follow_user", FOLLOW_STAFF)

    def list_customer_ids(self, userid: str) -> list[str]:
        """Return the external_userids of everybody whom one member of staff follows (doc 92113); no paging.

        WeCom answers 84061 for somebody without customers: an empty list, on this call alone.
        """
        try:
            answer = self._get(LIST, userid=arguments.identifier("userid", userid))
        except DataError as error:
            if error.code == NO_RELATION:
                return []
            raise
        return list_in(answer, "external_userid", LIST)

    def get_customer(self, external_userid: str) -> dict[str, Any]:
        """Return {"external_contact": …, "follow_user": [… of all pages]} (doc 92114). One call for 500 followers.

        DataError 84061: nobody visible follows them any more; 40096: no such id.
        """
        name = arguments.identifier("external_userid", external_userid)
        follows: list[dict[str, Any]] = []
        found: dict[str, Any] = {}
        for answer in self._pages(lambda at: self._get(GET, external_userid=name, cursor=at or None),
                                  "follow_user", GET):  # fmt: skip
            found = found or {**answer, "external_contact": object_in(answer, "external_contact", GET)}
            follows += answer["follow_user"]
        found.pop("next_cursor", None)
        return {**found, "follow_user": follows}

    def get_customers_of_staff(
        self, userids: Sequence[str], cursor: str = "", limit: int = BATCH_PAGE
    ) -> dict[str, Any]:
        """Return a page of the customers of 1 to 100 members of staff, one row for each relation (doc 92994).

        {"external_contact_list": [{"external_contact", "follow_info"}], "next_cursor", "fail_info"}; follow_info has
        the tag_ids of corp and rule tags, personal ones are not told. A page may be short, or empty, and not the last:
        go by next_cursor alone.
        """
        body = {
            "userid_list": arguments.identifiers("userids", userids, at_most=BATCH_STAFF),
            "cursor": arguments.cursor(cursor),
            "limit": arguments.number("limit", limit, lowest=1, highest=BATCH_PAGE),
        }
        answer = self._post(BATCH, body)
        list_in(answer, "external_contact_list", BATCH)
        return {**answer, "next_cursor": next_cursor_of(answer), "fail_info": answer.get("fail_info") or {}}

    def remark_customer(
        self,
        userid: str,
        external_userid: str,
        *,
        remark: str | None = None,
        description: str | None = None,
        company: str | None = None,
        mobiles: Iterable[str] | None = None,
        picture_media_id: str | None = None,
    ) -> None:
        """Change what a member of staff has noted of a customer; None leaves as it is (doc 92115).

        remark, company: 20 characters, company for WeChat users only; description: 150. mobiles replaces all of them,
        an empty list clears. WeCom sends no callback for it. DataError 84061: they do not follow them.
        """
        numbers = None
        if mobiles is not None:
            numbers = arguments.identifiers("mobiles", mobiles, at_most=100, at_least=0, max_bytes=32) or [""]
        given = {
            "remark": arguments.optional("remark", remark, max_characters=20),
            "description": arguments.optional("description", description, max_characters=150),
            "remark_company": arguments.optional("company", company, max_characters=20),
            "remark_mobiles": numbers,
            "remark_pic_mediaid": arguments.optional("picture_media_id", picture_media_id, max_bytes=512),
        }
        if all(value is None for value in given.values()):
            need_one_of(**given)
        who = {
            "userid": arguments.identifier("userid", userid),
            "external_userid": arguments.identifier("external_userid", external_userid),
        }
        self._post(REMARK, who | given, relation=relation_of(userid, external_userid))


def relation_of(userid: str, external_userid: str) -> str:
    """Return what stands for a relation: WeCom takes one write at a time of each (45035)."""
    return f"{userid.casefold()}/{external_userid}"
