"""Where a customer is in their life with us: new, active, dormant, lost or returned. Whole columns, as of a day.

Only days before as_of count.

    first    the day of the first behaviour, else the day the customer was created
    last     the day of the last purchase or interaction, else `first`
    days     as_of - last
    back     the first day with a purchase or interaction of the return_days before as_of; only of somebody who had
             done something before it, and had done nothing in the dormant_days before it

| the first that holds                    | code     |      | turns, if nothing else happens   |
|-----------------------------------------|----------|------|----------------------------------|
| days > lost_days                        | lost     | 流失 | never                            |
| days > dormant_days                     | dormant  | 沉睡 | lost at last + lost_days + 1     |
| as_of - first <= new_days               | new      | 新客 | at first + new_days + 1, or      |
| back there is                           | returned | 回流 |   when dormant; back + return_…  |
| otherwise                               | active   | 活跃 | dormant at last + dormant_… + 1  |

With 30, 90, 180 and 30 days, as of 2026-11-20:

| created | behaviours                | first | last  | days |          | turns       |
|---------|---------------------------|-------|-------|------|----------|-------------|
| 11-10   | none                      | 11-10 | 11-10 |   10 | new      | 2026-12-11  |
| 10-20   | none                      | 10-20 | 10-20 |   31 | active   | 2027-01-19  |
| 05-01   | 10-20                     | 10-20 | 10-20 |   31 | active   | 2027-01-19  |
| 05-01   | 06-01, 08-22              | 06-01 | 08-22 |   90 | active   | 2026-11-21  |
| 05-01   | 06-01, 08-21              | 06-01 | 08-21 |   91 | dormant  | 2027-02-18  |
| 05-01   | 05-23                     | 05-23 | 05-23 |  181 | lost     | never       |
| 05-01   | 06-01, 11-05, 11-19       | 06-01 | 11-19 |    1 | returned | 2026-12-06  |
| 05-01   | 06-01, 08-07, 11-05       | 06-01 | 11-05 |   15 | active   | 2027-02-04  |
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from .fields import LIFECYCLES
from .settings import LifecycleSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = NDArray[Any]

CODES = tuple(LIFECYCLES)
NEW, ACTIVE, DORMANT, LOST, RETURNED = range(len(CODES))
# No day, for whoever has none; NEVER lies after every day.
NO_DAY = -(2**31)
NEVER = 2**31 - 1


@dataclass(frozen=True)
class Lived:
    """Rows of the columns that a lifecycle hangs on. Day numbers count from any day, the same in all of them.

    first: of the first behaviour before as_of, else of the creation. last: of the last purchase or interaction before
    as_of, NO_DAY for none.
    """

    first: "Column"
    last: "Column"

    @property
    def last_known(self) -> "Column":
        import numpy as np

        return np.where(self.last == NO_DAY, self.first, self.last)


def may_have_returned(lived: Lived, as_of: int, settings: LifecycleSettings) -> "Column":
    """Return who may be `returned`: of these only does one have to know what they did when.

    >>> import numpy as np
    >>> lived = Lived(first=np.array([0, 0, 180]), last=np.array([195, 150, 195]))
    >>> may_have_returned(lived, 200, LifecycleSettings()).tolist()
    [True, False, False]
    """
    lately = as_of - settings.return_days
    return (lived.last >= lately) & (lived.first < lived.last) & (as_of - lived.first > settings.new_days)


def reading_days(as_of: date, settings: LifecycleSettings) -> dict[str, date]:
    """Return what to read of those who may have returned.

    since: the first day to read. lately: the first of the days in which one may have come back. away: who did something
    from this day until `lately` has not been away long enough, whenever they came back.

    >>> {name: f"{day}" for name, day in reading_days(date(2026, 11, 20), LifecycleSettings()).items()}
    {'since': '2026-07-23', 'lately': '2026-10-21', 'away': '2026-08-21'}
    """
    return {
        "since": as_of - timedelta(days=settings.return_days + settings.dormant_days),
        "lately": as_of - timedelta(days=settings.return_days),
        "away": as_of - timedelta(days=settings.dormant_days),
    }


def came_back(first: "Column", back: "Column", before: "Column", settings: LifecycleSettings) -> "Column":
    """Return the day on which each came back, NO_DAY for who did not.

    first: as in Lived. back: their first active day of the return_days before as_of. before: their last active day of
    the dormant_days in front of those, NO_DAY for none.
    """
    import numpy as np

    was_away = (before == NO_DAY) | (back - before > settings.dormant_days)
    return np.where((back != NO_DAY) & (first < back) & was_away, back, NO_DAY)


def lifecycles(lived: Lived, back: "Column", as_of: int, settings: LifecycleSettings) -> "tuple[Column, Column]":
    """Return each one's place in CODES, and the first day on which time alone changes it (NEVER for none).

    back: the day that each came back, NO_DAY for who did not (see came_back).

    >>> import numpy as np
    >>> day = lambda text: (date.fromisoformat(text) - date(2026, 1, 1)).days
    >>> first = [day(f"2026-{text}") for text in "11-10 10-20 10-20 06-01 06-01 05-23 06-01 06-01".split()]
    >>> last = [NO_DAY, NO_DAY, *(day(f"2026-{text}") for text in "10-20 08-22 08-21 05-23 11-19 11-05".split())]
    >>> back = np.array([NO_DAY] * 6 + [day("2026-11-05"), NO_DAY])
    >>> lived = Lived(np.array(first), np.array(last))
    >>> codes, turns = lifecycles(lived, back, day("2026-11-20"), LifecycleSettings())
    >>> [CODES[code] for code in codes]
    ['new', 'active', 'active', 'active', 'dormant', 'lost', 'returned', 'active']
    >>> [None if turn == NEVER else f"{date(2026, 1, 1) + timedelta(days=int(turn))}" for turn in turns]
    ... # doctest: +NORMALIZE_WHITESPACE
    ['2026-12-11', '2027-01-19', '2027-01-19', '2026-11-21', '2027-02-18', None, '2026-12-06', '2027-02-04']
    """
    import numpy as np

    last = lived.last_known
    days = as_of - last
    is_new = as_of - lived.first <= settings.new_days
    dormant_on, lost_on = last + settings.dormant_days + 1, last + settings.lost_days + 1
    codes = np.select(
        [days > settings.lost_days, days > settings.dormant_days, is_new, back != NO_DAY],
        [LOST, DORMANT, NEW, RETURNED],
        ACTIVE,
    )
    not_new_on = np.minimum(lived.first + settings.new_days + 1, dormant_on)
    not_back_on = np.minimum(back + settings.return_days + 1, dormant_on)
    turns = np.select(
        [codes == LOST, codes == DORMANT, codes == NEW, codes == RETURNED],
        [np.full_like(last, NEVER), lost_on, not_new_on, not_back_on],
        dormant_on,
    )
    return codes, turns
