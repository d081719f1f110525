"""How many customers there are, by home and class, without reading the customers.

Runs keep `profile_counts`; who is not classified yet still has a dirty mark since their creation, so only the marked
are looked at. These are counts of everybody: for whoever is restricted to departments, list instead.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from zlib import crc32

from customers.models import ProfileCount
from scrm import sharding
from scrm.held import Held

HELD_SECONDS = 5.0
HUES = 10
COUNTS = "SELECT profile, sum(customers)::bigint FROM profile_counts GROUP BY profile HAVING sum(customers) > 0"
UNCLASSIFIED = """
SELECT count(*) FROM dirty_customers JOIN customers USING (customer_id, bucket) WHERE customers.profile IS NULL
"""


@dataclass
class Counts:
    """homes: {home: {class, or None for not classified yet: customers}}; unavailable: homes that did not answer."""

    homes: dict[int, dict[str | None, int]] = field(default_factory=dict)
    unavailable: list[int] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(sum(classes.values()) for classes in self.homes.values())

    @property
    def unclassified(self) -> int:
        return sum(classes.get(None, 0) for classes in self.homes.values())

    @property
    def classes(self) -> dict[str, int]:
        """{class: customers} over all homes, the largest first."""
        found: Counter[str] = Counter()
        for classes in self.homes.values():
            found.update({name: count for name, count in classes.items() if name is not None})
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def count_home(home: int) -> dict[str | None, int]:
    """Return {class or None: customers} of a home. Database: two queries on the home's."""
    with sharding.cursor(home) as cursor:
        cursor.execute(COUNTS)
        found: dict[str | None, int] = dict(cursor.fetchall())
        cursor.execute(UNCLASSIFIED)
        (unclassified,) = cursor.fetchone()
    return {**found, None: unclassified} if unclassified else found


def count_customers() -> Counts:
    """Return the counts of all homes that answer. Database: two queries on each home's."""
    answers = sharding.fan_out(count_home)
    return Counts(answers.results, answers.unavailable)


def _read_classes() -> dict[str, int]:
    def names(home: int) -> list[str]:
        rows = ProfileCount.objects.using(sharding.alias(home)).filter(customers__gt=0)
        return list(rows.values_list("profile", flat=True).distinct())

    answers = sharding.fan_out(names)
    return with_hues({name for found in answers.results.values() for name in found})


def with_hues(names: Iterable[str]) -> dict[str, int]:
    """Return {class: number of its colour}; two classes share one only when there are more classes than colours.

    A class keeps its colour as far as possible when others come and go.

    >>> with_hues(["高价值客户", "潜在客户"]) == with_hues(["潜在客户", "高价值客户"])
    True
    """
    hues: dict[str, int] = {}
    for name in sorted(names):
        wanted = crc32(name.encode()) % HUES
        hues[name] = next((hue for hue in _from(wanted) if hue not in hues.values()), wanted)
    return hues


def _from(first: int) -> Iterator[int]:
    return ((first + step) % HUES for step in range(HUES))


# {class that somebody is in: number of its colour}. Database: one query on each home's, at most every 5 s.
known_classes = Held(_read_classes, seconds=HELD_SECONDS)
