"""How many calls a sync needs, and how long it will take: said before it begins."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from customers.models import Department, Staff
from scrm import sharding
from wxwork import budget
from wxwork.client.contacts import USER_LIST
from wxwork.client.customers import BATCH, BATCH_PAGE, BATCH_STAFF
from wxwork.client.groups import GET as GROUP_GET
from wxwork.models import CustomerGroup

# Departments, staff who have left, two libraries of tags, who serves customers, groups.
SINGLE_CALLS = 6
RELATIONS = "SELECT userid, count(*) FROM follows GROUP BY userid"


@dataclass(frozen=True)
class Estimate:
    """calls: at the least. is_guess: nothing is known yet of how many customers there are, so there will be more."""

    calls: int
    seconds: float
    is_guess: bool


def estimate() -> Estimate:
    """Return what a sync will cost, by what is known of the company. Database: one query on each home, two on control.

    A home that is down is left out.
    """
    relations = relations_by_staff()
    departments, groups = max(1, Department.objects.count()), CustomerGroup.objects.filter(dismissed_at=None).count()
    pages = pages_of(serving_staff(), relations)
    seconds = (
        budget.expected_seconds(pages, BATCH)
        + budget.expected_seconds(departments, USER_LIST)
        + budget.expected_seconds(groups, GROUP_GET)
    )
    return Estimate(SINGLE_CALLS + departments + groups + pages, seconds, is_guess=not relations)


def serving_staff() -> list[str]:
    """Return who may have customers, until WeCom has been asked. Database: one query on control."""
    return list(Staff.objects.exclude(status=Staff.Status.LEFT).order_by("userid").values_list("userid", flat=True))


def pages_of(userids: Sequence[str], relations: Counter[str]) -> int:
    """Return how many pages the customers of these members have, in batches.

    >>> pages_of(["chen", "lin"], Counter(chen=150, lin=60)), pages_of(["new"], Counter())
    (3, 1)
    """
    return sum(
        max(1, math.ceil(sum(relations[userid] for userid in batch) / BATCH_PAGE)) for batch in batches_of(userids)
    )


def batches_of(userids: Sequence[str]) -> list[list[str]]:
    """Return members in batches, as the API takes them."""
    return [list(userids[begin : begin + BATCH_STAFF]) for begin in range(0, len(userids), BATCH_STAFF)]


def relations_by_staff() -> Counter[str]:
    """Return how many follows are stored of each member, the lost ones too: most of them are still shown."""
    found: Counter[str] = Counter()
    for rows in sharding.fan_out(_relations).results.values():
        for userid, number in rows:
            found[userid] += number
    return found


def _relations(home: int) -> list[tuple[str, int]]:
    with sharding.cursor(home) as cursor:
        cursor.execute(RELATIONS)
        return list(cursor.fetchall())
