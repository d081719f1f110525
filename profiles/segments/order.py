"""Segments that use segments: in which order to judge them, and which of them go round in a circle. Pure."""

from collections.abc import Collection, Mapping


def in_order(references: Mapping[int, Collection[int]]) -> tuple[list[int], set[int]]:
    """Return the segments with those that they use before them, and the ones that cannot be put in order.

    references: {segment: those that it uses}; what is used and has no entry of its own stands for itself. Whoever is in
    a circle, or uses somebody who is, is in none of the list.

    >>> in_order({3: [1, 2], 1: [], 2: [1]})
    ([1, 2, 3], set())
    >>> in_order({1: [2], 2: [1], 3: [1], 4: [9]})
    ([4], {1, 2, 3})
    """
    waiting = {one: {other for other in used if other in references} for one, used in references.items()}
    order: list[int] = []
    while ready := sorted(one for one, used in waiting.items() if not used):
        order += ready
        for one in ready:
            del waiting[one]
        for used in waiting.values():
            used.difference_update(ready)
    return order, set(waiting)


def find_circle(references: Mapping[int, Collection[int]], start: int) -> list[int]:
    """Return a way from a segment back to itself, or nothing.

    >>> find_circle({1: [2], 2: [3], 3: [1]}, 1), find_circle({1: [2], 2: []}, 1), find_circle({1: [1]}, 1)
    ([1, 2, 3, 1], [], [1, 1])
    """
    ways = [[start]]
    seen: set[int] = set()
    while ways:
        way = ways.pop(0)
        for other in sorted(references.get(way[-1], ())):
            if other == start:
                return [*way, other]
            if other not in seen:
                seen.add(other)
                ways.append([*way, other])
    return []
