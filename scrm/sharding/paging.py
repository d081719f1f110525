"""Page through all homes in one stable order. Pure but for what fetch does.

The order is by customer_id, so by home and then by number. A position {home: last customer_id seen, or None when the
home is exhausted} says what has been handed out; a home that is down keeps its place and is owed, so that a reader who
follows `position` to its end has seen everybody who was there all along exactly once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from scrm.sharding.fanout import FanOut, fan_out


class HasCustomerId(Protocol):
    @property
    def customer_id(self) -> int: ...


Row = TypeVar("Row", bound=HasCustomerId)
Position = dict[int, int | None]
WAVE = 4


@dataclass
class Page(Generic[Row]):
    """items in order of customer_id; position to go on from, None at the end; homes that could not be asked."""

    items: list[Row]
    position: Position | None
    unavailable: list[int]


def page_across(
    fetch: Callable[[int, int, int], Sequence[Row]], position: Position | None, limit: int, homes: Sequence[int]
) -> Page[Row]:
    """Return the next page.

    fetch(home, after, limit) gives up to `limit` rows of a home with customer_id > after, ascending.
    homes: all that may hold rows; one that a position does not name yet begins at its start.
    Homes are asked in order and only until the page is full: the first alone, on the connection that the calling thread
    has anyway (most pages end there), then a few at once.
    """
    places: Position = {home: (position or {}).get(home, 0) for home in homes}
    waiting = [home for home in sorted(places) if places[home] is not None]
    items: list[Row] = []
    unavailable: list[int] = []
    size = 1
    while waiting and len(items) < limit:
        wave, waiting, size = waiting[:size], waiting[size:], WAVE
        wanted = limit - len(items)
        answers: FanOut[Sequence[Row]] = fan_out(lambda home, n=wanted: fetch(home, places[home] or 0, n + 1), wave)  # type: ignore[misc]
        unavailable += answers.unavailable
        for home in wave:
            if home not in answers.results:
                continue
            room = limit - len(items)
            rows = answers.results[home]
            taken = list(rows[:room])
            items += taken
            if len(rows) <= room and len(rows) <= wanted:
                places[home] = None
            elif taken:
                places[home] = taken[-1].customer_id
    owed = any(at is not None for at in places.values())
    return Page(items, places if owed else None, sorted(unavailable))
