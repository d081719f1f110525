"""Departments and staff (通讯录), read with the contacts secret where there is one. Docs 90208, 95350, 95351, 90196,
90200, 90201, 96067, 95402.

An application sees its visible range only, and for new ones WeCom leaves out mobiles, e-mails and avatars.
"""

from collections.abc import Iterator
from typing import Any

from wxwork.client import arguments
from wxwork.client.calls import Calls, list_in, object_in
from wxwork.tokens import CONTACTS

DEPARTMENT_LIST, DEPARTMENT_SIMPLELIST = "/cgi-bin/department/list", "/cgi-bin/department/simplelist"
DEPARTMENT_GET = "/cgi-bin/department/get"
USER_GET, USER_LIST, USER_SIMPLELIST = "/cgi-bin/user/get", "/cgi-bin/user/list", "/cgi-bin/user/simplelist"
USER_LIST_ID, USER_GETUSERID = "/cgi-bin/user/list_id", "/cgi-bin/user/getuserid"
STAFF_PAGE = 10_000


class ContactCalls(Calls):
    def list_departments(self, department_id: int | None = None) -> list[dict[str, Any]]:
        """Return departments with their names: all that are visible, or a subtree (doc 90208).

        [{id, name, name_en, department_leader, parentid, order}]; a parentid may be of one that is not visible.
        """
        root = None if department_id is None else arguments.department("department_id", department_id)
        return list_in(self._get(DEPARTMENT_LIST, app=CONTACTS, id=root), "department", DEPARTMENT_LIST)

    def list_department_ids(self, department_id: int | None = None) -> list[dict[str, Any]]:
        """Return [{id, parentid, order}] of all visible departments, or of a subtree (doc 95350)."""
        root = None if department_id is None else arguments.department("department_id", department_id)
        return list_in(self._get(DEPARTMENT_SIMPLELIST, app=CONTACTS, id=root), "department_id", DEPARTMENT_SIMPLELIST)

    def get_department(self, department_id: int) -> dict[str, Any]:
        """Return one department (doc 95351). DataError 60003: there is none."""
        number = arguments.department("department_id", department_id)
        return object_in(self._get(DEPARTMENT_GET, app=CONTACTS, id=number), "department", DEPARTMENT_GET)

    def list_staff(self, department_id: int) -> list[dict[str, Any]]:
        """Return the direct members of a department, each as get_staff does (doc 90201)."""
        number = arguments.department("department_id", department_id)
        return list_in(self._get(USER_LIST, app=CONTACTS, department_id=number), "userlist", USER_LIST)

    def list_staff_names(self, department_id: int) -> list[dict[str, Any]]:
        """Return [{userid, name, department}] of the direct members of a department (doc 90200)."""
        number = arguments.department("department_id", department_id)
        return list_in(self._get(USER_SIMPLELIST, app=CONTACTS, department_id=number), "userlist", USER_SIMPLELIST)

    def get_staff(self, userid: str) -> dict[str, Any]:
        """Return one member of staff (doc 90196). DataError 60111: unknown, left, or not visible.

        userid is found whatever its case, and comes back as WeCom writes it.
        """
        return self._get(USER_GET, app=CONTACTS, userid=arguments.identifier("userid", userid))

    def iter_staff_ids(self) -> Iterator[dict[str, Any]]:
        """Yield {userid, department} of every membership of everybody, 10 000 a call (doc 96067).

        ConfigError 48002 unless the contacts secret is that of contacts sync (通讯录同步).
        """

        def page(cursor: str) -> dict[str, Any]:
            return self._post(USER_LIST_ID, {"cursor": cursor, "limit": STAFF_PAGE}, app=CONTACTS)

        for answer in self._pages(page, "dept_user", USER_LIST_ID):
            yield from answer["dept_user"]

    def find_userid(self, mobile: str) -> str:
        """Return the userid of a mobile (doc 95402). DataError 46004: nobody's.

        Wrong numbers of more than a fifth of the head count block this API for a day.
        """
        body = {"mobile": arguments.identifier("mobile", mobile, max_bytes=32)}
        return str(self._post(USER_GETUSERID, body, app=CONTACTS, hidden=(mobile,)).get("userid", ""))
