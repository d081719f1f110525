"""How many customers are in each class, for whoever asks: of everybody, or of those they may see."""

from typing import Any

from customers.access import Scope
from customers.counts import Counts, count_customers
from scrm import sharding


def count_visible(scope: Scope) -> Counts:
    """Return the counts of customers in scope.

    Database: of everybody two queries on each home's, from counts that are kept; of a part one that reads all customers
    of the home, about a second a million.
    """
    if scope.is_everything:
        return count_customers()

    def count_home(home: int) -> dict[str | None, int]:
        condition, params = scope.sql(home)
        with sharding.cursor(home) as cursor:
            cursor.execute(
                f"SELECT profile, count(*) FROM customers WHERE {condition} GROUP BY profile",  # noqa: S608
                params,
            )
            return dict(cursor.fetchall())

    answers = sharding.fan_out(count_home)
    return Counts(answers.results, answers.unavailable)


def shown_counts(counts: Counts) -> dict[str, Any]:
    """Return counts as JSON values."""
    return {
        "total": counts.total,
        "unclassified": counts.unclassified,
        "classes": counts.classes,
        "homes": [
            {
                "home": home,
                "unclassified": classes.get(None, 0),
                "classes": {name: count for name, count in classes.items() if name is not None},
            }
            for home, classes in sorted(counts.homes.items())
        ],
        "unavailable": counts.unavailable,
    }
