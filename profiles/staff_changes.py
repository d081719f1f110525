"""Staff who change departments or leave: their customers are looked at anew, where conditions go by departments.

    notice   each department that conditions in use name, with all below it: whom it has now, and whom it had when last
             looked (JudgedDepartment). Who came or left is noted once (StaffChange), whoever wrote it: a sync, a
             callback, a department that was put elsewhere. Where no condition names a department that is all.
             Also right before a changed definition is computed, so that whoever moves while it is computed, or before
             the keeper comes, is noticed, and that it is not computed by a company held from before
    wait     until no process judges by the company as it was (organisation is held 30 s)
    look     home by home, bucket by bucket, a thousand of their customers at a time, as profiles.looking does

Nothing waits for it: a change that concerns 100 000 customers is done by the keeper in some minutes. Killed anywhere,
or with a home down, it goes on from `progress`; done twice it writes nothing.
"""

from collections.abc import Sequence
from datetime import timedelta
from time import monotonic

import orjson
import structlog
from django.conf import settings
from django.db import IntegrityError, OperationalError, connection, reset_queries, transaction
from django.utils import timezone

from customers.organisation import HELD_SECONDS, organisation
from profiles import claims, columns
from profiles.facts import staff_of
from profiles.looking import IN_THE_WAY, STEP, look_at
from profiles.models import JudgedDepartment, StaffChange
from profiles.recommendations import rules
from profiles.segments.definitions import read_plan
from profiles.segments.refreshing import only_one
from profiles.segments.writing import BY_INDEX, lock_bucket
from scrm import sharding
from scrm.sharding.ids import BUCKETS

logger = structlog.get_logger(__name__)

WAIT_SECONDS = HELD_SECONDS + 5
ROUND_SECONDS = 30.0
FOLLOWING_STAFF = 1001  # beyond the buckets' numbers in the locks of memberships

FOLLOWED = """
SELECT DISTINCT f.customer_id FROM follows_@ f
WHERE f.userid = ANY(%s) AND f.lost_at IS NULL AND f.customer_id > %s ORDER BY f.customer_id LIMIT %s
"""
NOTE = "UPDATE staff_changes SET progress = progress || %s::jsonb WHERE id = %s"


def follow_staff_changes() -> int:
    """Notice who has changed departments, and look at customers of those noticed. Returns how many. For the keeper."""
    notice()
    due = StaffChange.objects.filter(noticed_at__lte=timezone.now() - timedelta(seconds=WAIT_SECONDS))
    return sum(_look(change) for change in due.order_by("pk"))


def notice() -> int:
    """Note who has come to or left departments that conditions name. Returns how many members of staff.

    Database: control, two queries and one more where rules ask for segments; where departments are named six more, the
    company's staff among them.
    """
    columns_read = (read_plan().needs | rules.read_plan().needs).columns
    named = {int(key.partition(":")[2]) for key in columns_read if key.startswith("department:")}
    JudgedDepartment.objects.exclude(pk__in=named).delete()
    if not named:
        return 0
    organisation.forget()
    now = {department: sorted(staff_of(department)) for department in sorted(named)}
    with transaction.atomic():
        known = {one.pk: one.staff for one in JudgedDepartment.objects.select_for_update().order_by("pk")}
        moved = sorted(set[str]().union(*(set(now[one]) ^ set(staff) for one, staff in known.items() if one in now)))
        differ = [JudgedDepartment(one, staff) for one, staff in now.items() if known.get(one) != staff]
        JudgedDepartment.objects.bulk_create(
            differ, update_conflicts=True, unique_fields=["department_id"], update_fields=["staff"]
        )
        if moved:
            StaffChange.objects.create(userids=moved)
            logger.info("staff_change_noticed", staff=len(moved), userids=moved[:10])
    return len(moved)


def _look(change: StaffChange) -> int:
    answers = sharding.fan_out(lambda home: _look_home(change, home))
    if not answers.unavailable and all(is_over for _, is_over in answers.results.values()):
        change.delete()
    return sum(looked for looked, _ in answers.results.values())


def _look_home(change: StaffChange, home: int) -> tuple[int, bool]:
    """Look at the next of their customers in a home, for ROUND_SECONDS. Returns how many, and whether that was all."""
    looked, until = 0, monotonic() + ROUND_SECONDS
    with only_one(home, FOLLOWING_STAFF) as is_ours:
        bucket, after = _progress(change, home) if is_ours else (0, 0)
        while is_ours and bucket < BUCKETS:
            try:
                ids = _look_at_some(home, bucket, change.userids, after)
            except (OperationalError, IntegrityError) as error:
                if claims.sqlstate(error) not in IN_THE_WAY:
                    raise
                break  # somebody else is at this bucket
            looked += len(ids)
            bucket, after = (bucket, ids[-1]) if len(ids) == STEP else (bucket + 1, 0)
            with connection.cursor() as cursor:
                cursor.execute(NOTE, [orjson.dumps({str(home): [bucket, after]}).decode(), change.pk])
            if settings.DEBUG:
                reset_queries()
            if monotonic() >= until:
                break
        return looked, bucket >= BUCKETS


def _progress(change: StaffChange, home: int) -> tuple[int, int]:
    """Return the bucket to go on with, and after whom; beyond all where somebody else has done it all."""
    stored = StaffChange.objects.filter(pk=change.pk).values_list("progress", flat=True).first()
    bucket, after = (BUCKETS, 0) if stored is None else stored.get(str(home), (0, 0))
    return bucket, after


def _look_at_some(home: int, bucket: int, userids: Sequence[str], after: int) -> list[int]:
    with sharding.atomic_home(home), sharding.cursor(home) as cursor:
        lock_bucket(cursor, bucket)
        cursor.execute(BY_INDEX)
        cursor.execute(columns.on_leaves(FOLLOWED, bucket), [list(userids), after, STEP])
        ids = [one for (one,) in cursor.fetchall()]
        if ids:
            look_at(cursor, home, bucket, ids)
        return ids
