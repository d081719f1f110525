"""Write departments and staff as WeCom shows them. Control database only, but for the follows of a renamed member.

WeCom says                        stored
a department                      its name, parent, order; a parent that we may not see is none
a department is unknown (60003)   deleted: WeCom deletes only empty ones
a member of staff                 name, departments (the main one first), position, alias, status
a member is unknown (60111)       marked as having left, in no department any more; never deleted
another userid for a member       the same person: follows and groups go over, the old row goes

read_at: when WeCom was asked. An older read changes nothing. What has none was made here by hand: a sync leaves it
alone until WeCom shows it too. Functions return what they have changed as {kind of drift: number}.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from django.db import connection, transaction
from django.db.models.functions import Lower

from customers.models import Department, Staff
from customers.organisation import organisation
from wxwork.followers import rename_staff
from wxwork.models import CustomerGroup, GroupMember
from wxwork.reading import DepartmentData, StaffData

# Whoever writes here, callbacks of several keys and a sync, does so one after the other.
LOCK = 0x77785F636F
LEFT = Staff.Status.LEFT


def write_departments(found: Sequence[DepartmentData], *, read_at: datetime) -> Counter[str]:
    """Create and change departments. Database: four statements, one transaction."""
    drift: Counter[str] = Counter()
    with transaction.atomic():
        _lock()
        stored = Department.objects.in_bulk([one.id for one in found])
        known = {one.id for one in found} | set(Department.objects.values_list("id", flat=True))
        rows = []
        for one in found:
            parent = one.parent if one.parent in known else None
            before = stored.get(one.id)
            if before is not None and before.read_at is not None and before.read_at > read_at:
                continue
            differs = before is None or (before.name, before.parent_id, before.order) != (one.name, parent, one.order)
            if before is None:
                drift["department_added"] += 1
            elif differs:
                drift["department_changed"] += 1
            if differs or (before is not None and before.read_at is None):
                rows.append(Department(id=one.id, name=one.name, parent_id=parent, order=one.order, read_at=read_at))
        Department.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=["id"], update_fields=["name", "parent", "order", "read_at"]
        )
    return _changed(drift)


def delete_departments(ids: Collection[int], *, read_at: datetime) -> Counter[str]:
    """Delete departments that WeCom does not know any more."""
    with transaction.atomic():
        _lock()
        gone = Department.objects.filter(id__in=list(ids)).exclude(read_at__gt=read_at)
        number = gone.count()
        gone.delete()
    return _changed(Counter({"department_removed": number}))


def write_staff(found: Sequence[StaffData], *, read_at: datetime) -> Counter[str]:
    """Create and change staff, and who is in which department. Database: six statements, one transaction."""
    drift: Counter[str] = Counter()
    with transaction.atomic():
        _lock()
        departments = set(Department.objects.values_list("id", flat=True))
        stored = Staff.objects.in_bulk([one.userid for one in found])
        members = _departments_of(stored)
        rows: list[Staff] = []
        placed: dict[str, tuple[int, ...]] = {}
        for one in found:
            before = stored.get(one.userid)
            if before is not None and before.read_at is not None and before.read_at > read_at:
                continue
            row = _row(one, read_at)
            own = tuple(number for number in one.departments if number in departments)
            differs = before is None or _values(before) != _values(row) or set(members.get(one.userid, ())) != set(own)
            if before is None:
                drift["staff_added"] += 1
            elif differs:
                drift["staff_left" if row.status == LEFT and before.status != LEFT else "staff_changed"] += 1
            if differs or (before is not None and before.read_at is None):
                rows.append(row)
                placed[one.userid] = own
        Staff.objects.bulk_create(
            rows,
            update_conflicts=True,
            unique_fields=["userid"],
            update_fields=["name", "position", "status", "alias", "main_department", "read_at"],
        )
        _place(placed, members)
    return _changed(drift)


def mark_left(userids: Collection[str], *, read_at: datetime) -> Counter[str]:
    """Mark staff whom WeCom does not know any more as having left; they are in no department then."""
    with transaction.atomic():
        _lock()
        going = list(
            Staff.objects.filter(userid__in=list(userids))
            .exclude(status=LEFT)
            .exclude(read_at__gt=read_at)
            .values_list("userid", flat=True)
        )
        Staff.objects.filter(userid__in=going).update(status=LEFT, read_at=read_at)
        Staff.departments.through.objects.filter(staff_id__in=going).delete()
    return _changed(Counter({"staff_left": len(going)}))


def take_over(old: str, new: str) -> int:
    """Make a member's new userid stand for all that the old one did. Repeatable. Returns how many customers changed.

    The new row must be there. Database: control, and every home for the follows. Raises HomeError, DirectoryError.
    """
    if old == new:
        return 0
    changed = rename_staff(old, new)
    with transaction.atomic():
        _lock()
        CustomerGroup.objects.filter(owner=old).update(owner=new)
        there = GroupMember.objects.filter(member_id=new).values("group_id")
        GroupMember.objects.filter(member_id=old).exclude(group_id__in=there).update(member_id=new)
        GroupMember.objects.filter(member_id=old).delete()
        Staff.objects.filter(userid=old).delete()
    organisation.forget()
    return changed


def take_over_spellings(userids: Iterable[str]) -> None:
    """Make the way in which WeCom writes a userid stand for every other way: case means nothing in them.

    Database: one query on control; see take_over for each that is written otherwise.
    """
    canonical = {userid.lower(): userid for userid in userids}
    rows = Staff.objects.annotate(small=Lower("userid")).filter(small__in=list(canonical))
    for userid in list(rows.values_list("userid", flat=True)):
        take_over(userid, canonical[userid.lower()])


def find_userid(userid: str) -> str | None:
    """Return how the userid of a member whom we have is written, whatever the case asked for."""
    rows = Staff.objects.filter(userid__iexact=userid).values_list("userid", flat=True)
    return next(iter(sorted(rows, key=lambda one: one != userid)), None)


def _lock() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])


def _changed(drift: Counter[str]) -> Counter[str]:
    drift = +drift
    if drift:
        organisation.forget()
    return drift


def _row(one: StaffData, read_at: datetime) -> Staff:
    return Staff(
        userid=one.userid, name=one.name, position=one.position, status=one.status, alias=one.alias,
        main_department=one.main_department, read_at=read_at,
    )  # fmt: skip


def _values(staff: Staff) -> tuple[object, ...]:
    return staff.name, staff.position, staff.status, staff.alias, staff.main_department


def _departments_of(userids: Iterable[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    through = Staff.departments.through.objects.filter(staff_id__in=list(userids))
    for userid, number in through.values_list("staff_id", "department_id"):
        found.setdefault(userid, []).append(number)
    return found


def _place(placed: dict[str, tuple[int, ...]], members: dict[str, list[int]]) -> None:
    through = Staff.departments.through
    moved = [userid for userid, own in placed.items() if set(own) != set(members.get(userid, ()))]
    through.objects.filter(staff_id__in=moved).delete()
    through.objects.bulk_create(
        [through(staff_id=userid, department_id=number) for userid in moved for number in placed[userid]]
    )
