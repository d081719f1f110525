"""Some of the customers whom a run moves, or would move, from one class to another: a few for each pair of classes."""

from collections.abc import Iterable
from dataclasses import dataclass

from customers.access import Scope
from customers.models import Customer
from profiles import claims
from profiles.models import ProfileRun
from scrm import sharding

SHOWN = 5


@dataclass(frozen=True)
class Sample:
    """customers: (customer_id, name), ascending; before: None for not classified before."""

    before: str | None
    after: str
    customers: tuple[tuple[int, str], ...]


def list_samples(run: ProfileRun, scope: Scope) -> list[Sample]:
    """Return whom a run moves, at most SHOWN of each pair of classes, and nobody who is out of scope or gone.

    Homes that are down are left out. Database: two queries on each home of the run.
    """
    homes = [home for home in run.homes if home in sharding.shard_map()]
    answers = sharding.fan_out(lambda home: _of_home(run.pk, home, scope), homes)
    found: dict[tuple[str | None, str], list[tuple[int, str]]] = {}
    for _home, cells in sorted(answers.results.items()):
        for moved, customers in cells.items():
            found.setdefault(moved, []).extend(customers)
    return [
        Sample(before, after, tuple(sorted(customers)[:SHOWN]))
        for (before, after), customers in found.items()
        if customers
    ]


def _of_home(run_id: int, home: int, scope: Scope) -> dict[tuple[str | None, str], list[tuple[int, str]]]:
    cells: dict[tuple[str | None, str], list[int]] = {}
    for view in claims.views(run_id, home):
        for before, after, ids in view.samples:
            if before != after:
                cells.setdefault((before, after), []).extend(ids)
    names = _names(home, {customer_id for ids in cells.values() for customer_id in ids}, scope)
    return {
        moved: [(customer_id, names[customer_id]) for customer_id in sorted(ids) if customer_id in names][:SHOWN]
        for moved, ids in cells.items()
    }


def _names(home: int, ids: Iterable[int], scope: Scope) -> dict[int, str]:
    """Return {customer_id: name} of those in scope."""
    wanted = sorted(ids)
    if not wanted:
        return {}
    condition, params = scope.sql(home)
    rows = Customer.objects.using(sharding.alias(home)).filter(customer_id__in=wanted)
    return dict(rows.extra(where=[condition], params=params).values_list("customer_id", "name"))  # noqa: S610 - ours
