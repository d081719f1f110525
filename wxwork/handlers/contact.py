"""Callbacks about departments and staff (change_contact). Each reads the object anew before it changes anything.

ChangeType                  done about it
create_user, update_user    the member is read and written, however little the callback says of them (new callback
                            URLs get UserID and Department only); one whom WeCom does not know (60111) has left
update_user with NewUserID  the new member is read and written, then follows and groups of the old userid go over
delete_user                 the same read: 60111 marks them as having left, and those of their customers whom WeCom
                            names as waiting for somebody new are lost to it; one who is back is written
create_party, update_party  the department is read and written
delete_party                the same read: 60003 deletes it
update_tag                  nothing: tags of staff are not kept
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.utils import timezone

from wxwork import company
from wxwork.client import wecom
from wxwork.errors import ConfigError, DataError
from wxwork.followers import mark_unassigned
from wxwork.handlers import handles
from wxwork.messages import Message
from wxwork.reading import read_department, read_staff, read_time

EVENT = "change_contact"
UNKNOWN_STAFF = {60111, 40003}
UNKNOWN_DEPARTMENT = {60003, 60123}
# A callback may be about what our application is not allowed to see.
NOT_VISIBLE = 60011
# Between the time of leaving that the list shows and that of the callback.
SLACK = timedelta(minutes=10)


@handles(EVENT, "create_user", "update_user", "delete_user")
def staff_changed(message: Message) -> None:
    """A member of staff has joined, changed or left."""
    userid, new = message.text("UserID"), message.text("NewUserID")
    if not new or new == userid:
        if not refresh_staff(userid) and message.change_type == "delete_user":
            _lose_customers(userid, since=message.created_at)
        return
    if refresh_staff(new):
        company.take_over(company.find_userid(userid) or userid, company.find_userid(new) or new)
    else:
        # Renamed again since, or gone: another callback tells of it.
        refresh_staff(userid)


@handles(EVENT, "create_party", "update_party", "delete_party")
def department_changed(message: Message) -> None:
    """A department has been made, changed or deleted."""
    number = int(message.text("Id"))
    asked_at = timezone.now()
    try:
        found = read_department(wecom().get_department(number))
    except DataError as error:
        if error.code not in UNKNOWN_DEPARTMENT:
            raise
        company.delete_departments([number], read_at=asked_at)
    except ConfigError as error:
        if error.code != NOT_VISIBLE:
            raise
    else:
        company.write_departments([found] if found else [], read_at=asked_at)


@handles(EVENT, "update_tag")
def staff_tag_changed(message: Message) -> None:
    """Somebody has been put into a tag of staff, of which we keep none."""


def refresh_staff(userid: str) -> bool:
    """Read a member of staff and write what the read says. Returns whether WeCom knows them. Calls: 1."""
    asked_at = timezone.now()
    try:
        found = read_staff(wecom().get_staff(userid))
    except DataError as error:
        if error.code not in UNKNOWN_STAFF:
            raise
        company.mark_left([company.find_userid(userid) or userid], read_at=asked_at)
        return False
    if found is not None:
        company.write_staff([found], read_at=asked_at)
        company.take_over_spellings([found.userid])
    return found is not None


def _lose_customers(userid: str, *, since: datetime) -> None:
    """Mark the follows of a member who has left, by the list of those who wait for somebody new, the newest first.

    Calls: one for a thousand customers of all who have left since. Those who left before are the sync's.
    """
    asked_at = timezone.now()

    def rows() -> Iterator[tuple[str, str, datetime]]:
        for row in wecom().iter_unassigned():
            left_at = read_time(row.get("dimission_time"))
            if left_at is None or left_at < since - SLACK:
                return
            if str(row.get("handover_userid", "")).casefold() == userid.casefold():
                yield str(row["handover_userid"]), str(row.get("external_userid", "")), left_at

    mark_unassigned(rows(), asked_at=asked_at)
