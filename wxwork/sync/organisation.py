"""Sync departments and staff: all that are visible, and what has gone from WeCom since.

What is missing from the lists is asked for by its id before anything is done about it: a list shows the visible range,
and that may have shrunk. Of a member WeCom answers the same (60111) whether they have left or are out of sight, so that
only those have left who were in a department that is still shown, or in none.
"""

from collections import Counter
from collections.abc import Sequence

import structlog
from django.utils import timezone

from customers.models import Department, Staff
from wxwork import company
from wxwork.errors import ConfigError, DataError
from wxwork.reading import StaffData, read_department, read_staff
from wxwork.sync.work import Work

logger = structlog.get_logger(__name__)

UNKNOWN_STAFF = {60111, 40003}
UNKNOWN_DEPARTMENT = {60003, 60123}
NOT_VISIBLE = 60011
HIDDEN_STAFF = {NOT_VISIBLE, 50002, 60021}
CHUNK = 1_000


def sync_departments(work: Work) -> Counter[str]:
    """Write all departments that are visible, and delete those that WeCom does not know. Returns the drift."""
    asked_at = timezone.now()
    rows = work.patiently(work.client.list_departments)
    found = [one for one in map(read_department, rows) if one is not None]
    drift = company.write_departments(found, read_at=asked_at)
    missing = Department.objects.filter(read_at__isnull=False).exclude(id__in=[one.id for one in found])
    gone = [number for number in missing.values_list("id", flat=True) if not _is_department(work, number)]
    return drift + company.delete_departments(gone, read_at=timezone.now())


def _is_department(work: Work, number: int) -> bool:
    try:
        work.patiently(lambda: work.client.get_department(number))
    except (DataError, ConfigError) as error:
        if error.code in UNKNOWN_DEPARTMENT:
            return False
        if error.code != NOT_VISIBLE:
            raise
    return True


def sync_staff(work: Work) -> tuple[Counter[str], int]:
    """Write everybody in the departments we know, and mark who has left. Returns (the drift, how many there are)."""
    drift: Counter[str] = Counter()
    asked_at = timezone.now()
    found: dict[str, StaffData] = {}
    for number in Department.objects.filter(read_at__isnull=False).order_by("id").values_list("id", flat=True):
        for one in _members(work, number):
            found.setdefault(one.userid.casefold(), one)
    company.take_over_spellings([one.userid for one in found.values()])
    everybody = list(found.values())
    for begin in range(0, len(everybody), CHUNK):
        drift += company.write_staff(everybody[begin : begin + CHUNK], read_at=asked_at)
    here = Staff.objects.filter(read_at__isnull=False).exclude(status=Staff.Status.LEFT)
    missing = [userid for userid in here.values_list("userid", flat=True) if userid.casefold() not in found]
    asked_at = timezone.now()
    unknown = [userid for userid in missing if not _is_staff(work, userid, drift)]
    if unknown:
        drift += company.mark_left(_without_hidden(work, unknown), read_at=asked_at)
    return drift, len(everybody)


def _members(work: Work, number: int) -> Sequence[StaffData]:
    try:
        rows = work.patiently(lambda: work.client.list_staff(number))
    except (DataError, ConfigError) as error:
        if error.code in UNKNOWN_DEPARTMENT or error.code == NOT_VISIBLE:
            return []  # deleted since, or out of sight: its members are asked for one by one
        raise
    return [one for one in map(read_staff, rows) if one is not None]


def _is_staff(work: Work, userid: str, drift: Counter[str]) -> bool:
    """Ask for a member whom no list shows, and write what the answer says. Returns False if WeCom knows them not."""
    asked_at = timezone.now()
    try:
        found = read_staff(work.patiently(lambda: work.client.get_staff(userid)))
    except DataError as error:
        if error.code not in UNKNOWN_STAFF:
            raise
        return False
    except ConfigError as error:
        if error.code not in HIDDEN_STAFF:
            raise
        return True
    drift += company.write_staff([found], read_at=asked_at) if found else Counter()
    return True


def _without_hidden(work: Work, userids: Sequence[str]) -> list[str]:
    """Return those of whom a department is shown to us, or who are in none. Calls: 1."""
    shown = {one.id for one in map(read_department, work.patiently(work.client.list_departments)) if one is not None}
    own: dict[str, set[int]] = {userid: set() for userid in userids}
    through = Staff.departments.through.objects.filter(staff_id__in=userids)
    for userid, number in through.values_list("staff_id", "department_id"):
        own[userid].add(number)
    hidden = sorted(userid for userid, numbers in own.items() if numbers and not numbers & shown)
    if hidden:
        logger.warning("sync_staff_out_of_sight", run=str(work.run.pk), staff=len(hidden), userids=hidden[:10])
    return [userid for userid in userids if userid not in hidden]
