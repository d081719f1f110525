"""Which facts some conditions read, so that a reader loads them and no others."""

from collections.abc import Iterable
from dataclasses import dataclass

from .conditions import Condition
from .fields import read_key


@dataclass(frozen=True)
class Needs:
    """The columns of facts that are to be loaded. `|` unites those of several rules, segments and so on.

    >>> needs = needs_of([Condition("purchase_count", ">", 1, 90), Condition("tags", "has", "et1")])
    >>> sorted(needs.columns), sorted(needs.windows), sorted(needs.tags)
    (['purchase_count[90d]', 'tag:et1'], [90], ['et1'])
    >>> sorted((needs | needs_of([Condition("interaction_count", ">", 1, channel="store")])).channels)
    ['store']
    """

    columns: frozenset[str] = frozenset()

    def __or__(self, other: "Needs") -> "Needs":
        return Needs(self.columns | other.columns)

    def __bool__(self) -> bool:
        return bool(self.columns)

    @property
    def windows(self) -> frozenset[int]:
        facts = [read_key(key) for key in self.columns]
        return frozenset(fact.window_days for fact in facts if fact is not None and fact.window_days is not None)

    @property
    def channels(self) -> frozenset[str]:
        facts = [read_key(key) for key in self.columns]
        return frozenset(fact.channel for fact in facts if fact is not None and fact.channel is not None)

    @property
    def tags(self) -> frozenset[str]:
        return self.flags("tag")

    def flags(self, column: str) -> frozenset[str]:
        """Return the values that are asked for of a field with a bool column per value.

        >>> needs_of([Condition("followed_by", "is", "zhang")]).flags("followed_by")
        frozenset({'zhang'})
        """
        start = f"{column}:"
        return frozenset(key.removeprefix(start) for key in self.columns if key.startswith(start))


def needs_of(conditions: Iterable[Condition], *, reviewed: bool = False) -> Needs:
    """Return the columns that judging these conditions reads. reviewed: also those that review_on() reads."""
    found: set[str] = set()
    for condition in conditions:
        found.add(condition.key)
        if reviewed:
            found.update(condition.turning_columns)
    return Needs(frozenset(found))
