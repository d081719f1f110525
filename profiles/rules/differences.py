"""What differs between two sets of rules, rule by rule, for whoever is about to put one in force."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from .rulesets import Rule, RuleSet

SAME, MOVED, CHANGED, ADDED, REMOVED = "same", "moved", "changed", "added", "removed"


@dataclass(frozen=True)
class Difference:
    """What became of a rule. Positions count from 1 and are None where there is none."""

    kind: str
    before: Rule | None
    after: Rule | None
    position_before: int | None
    position_after: int | None


def differences(before: RuleSet, after: RuleSet) -> list[Difference]:
    """Return what became of each rule: those of `after` in their order, each rule that went where it stood.

    Two rules are the same that give the same class for the same conditions in any order; of those that are left, the
    first of the same class are one that changed. A same rule is `moved` if others that stayed have passed it.

    >>> from .text import parse_conditions
    >>> one, two, other = (
    ...     Rule(name, parse_conditions(f"purchase_count > {number}"))
    ...     for name, number in (("甲", 1), ("乙", 2), ("甲", 9))
    ... )
    >>> found = differences(RuleSet(1, (one, two), "丙"), RuleSet(2, (two, other), "丙"))
    >>> [(item.kind, item.position_before, item.position_after) for item in found]
    [('same', 2, 1), ('changed', 1, 2)]
    >>> found = differences(RuleSet(1, (one, two), "丙"), RuleSet(2, (two, one), "丙"))
    >>> sorted(item.kind for item in found)
    ['moved', 'same']
    """
    pairs = _pairs(before.rules, after.rules)
    stayed = _in_order([old for old, _ in sorted(pairs["same"], key=lambda pair: pair[1])])
    kinds = {new: (SAME if old in stayed else MOVED, old) for old, new in pairs["same"]}
    kinds |= {new: (CHANGED, old) for old, new in pairs["changed"]}
    found = []
    for new, rule in enumerate(after.rules):
        kind, old = kinds.get(new, (ADDED, None))
        found.append(Difference(kind, None if old is None else before.rules[old], rule, _position(old), _position(new)))
    paired = {old for old, _ in pairs["same"] + pairs["changed"]}
    for old, rule in enumerate(before.rules):
        if old not in paired:
            place = next((at for at, one in enumerate(found) if (one.position_before or 0) > old + 1), len(found))
            found.insert(place, Difference(REMOVED, rule, None, _position(old), None))
    return found


def _position(index: int | None) -> int | None:
    return None if index is None else index + 1


def _pairs(before: Sequence[Rule], after: Sequence[Rule]) -> dict[str, list[tuple[int, int]]]:
    """Return which rules are one: {"same": [(index before, index after)], "changed": …}."""
    old, new = set(range(len(before))), set(range(len(after)))
    found: dict[str, list[tuple[int, int]]] = {}
    for kind, by in (("same", _meaning), ("changed", _profile)):
        found[kind] = []
        for index in sorted(new):
            twin = next((one for one in sorted(old) if by(before[one]) == by(after[index])), None)
            if twin is not None:
                found[kind].append((twin, index))
                old.discard(twin)
                new.discard(index)
    return found


def _meaning(rule: Rule) -> object:
    return rule.profile, frozenset(rule.conditions)


def _profile(rule: Rule) -> object:
    return rule.profile


def _in_order(places: Sequence[int]) -> set[int]:
    """Return a longest run of places that still follow each other: those that did not move."""
    matcher = SequenceMatcher(None, sorted(places), places, autojunk=False)
    return {places[match.b + step] for match in matcher.get_matching_blocks() for step in range(match.size)}
