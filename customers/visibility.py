"""Which of many customers somebody may see, asked of the databases at once."""

from collections.abc import Collection
from dataclasses import dataclass, field

from customers.access import Scope
from customers.directory import addresses
from scrm import sharding


@dataclass(frozen=True)
class Sorted:
    """Of the external_userids that were asked for: who is there at all, who is in scope, and of whom it cannot be told
    because their home is down."""

    there: dict[str, int] = field(default_factory=dict)
    visible: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)


def sort_out(external_userids: Collection[str], scope: Scope) -> Sorted:
    """Say who of these is in scope.

    Database: one query on control, and for a restricted scope one on each home that is concerned.
    """
    there = addresses(list(external_userids))
    if scope.is_everything:
        return Sorted(there, set(there))
    names = {customer_id: external_userid for external_userid, customer_id in there.items()}
    by_home: dict[int, list[int]] = {}
    for customer_id in names:
        by_home.setdefault(sharding.home_of(customer_id), []).append(customer_id)

    def ask(home: int) -> list[int]:
        condition, params = scope.sql(home)
        ids = by_home[home]
        with sharding.cursor(home) as cursor:
            cursor.execute(
                "SELECT customer_id FROM customers WHERE customer_id = ANY(%s) AND bucket = ANY(%s) "  # noqa: S608
                f"AND {condition}",
                [ids, sorted({customer_id % 10 for customer_id in ids}), *params],
            )
            return [customer_id for (customer_id,) in cursor.fetchall()]

    known_homes = [home for home in by_home if home in sharding.shard_map()]
    answers = sharding.fan_out(ask, known_homes) if known_homes else sharding.FanOut()
    visible = {names[customer_id] for found in answers.results.values() for customer_id in found}
    down = set(by_home) - set(answers.results)
    return Sorted(there, visible, {names[customer_id] for home in down for customer_id in by_home[home]})
