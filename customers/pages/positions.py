"""Where a list goes on, as text in a URL: the last customer seen of each home, `x<home>` for a home that is exhausted.

    x100.1010000000017   home 100 is exhausted, home 101 goes on after 1010000000017
    (empty)              from the beginning

A trail of former positions, for the way back, is those texts with `~` between them.
"""

from scrm import sharding
from scrm.sharding import ids

MAX_TRAIL = 2000


def encode(position: sharding.Position) -> str:
    """Return a position as text. Homes at their beginning are left out.

    >>> encode({100: None, 101: 1010000000017, 102: 0})
    'x100.1010000000017'
    """
    return ".".join(f"x{home}" if at is None else str(at) for home, at in sorted(position.items()) if at != 0)


def decode(text: str) -> sharding.Position | None:
    """Return the position that a text spells; None for the beginning.

    >>> decode("x100.1010000000017")
    {100: None, 101: 1010000000017}

    Raises ValueError for any other text.
    """
    position: sharding.Position = {}
    for word in text.split(".") if text else []:
        if word.startswith("x"):
            if not (word[1:].isascii() and word[1:].isdigit() and len(word) <= 7):
                raise ValueError(f"{word[:20]!r} is no home.")
            position[int(word[1:])] = None
        else:
            customer_id = ids.parse(word)
            position[ids.home_of(customer_id)] = customer_id
    return position or None


def longer(trail: str, cursor: str) -> str:
    """Return a trail with one more position at its end; what would make the URL too long is forgotten.

    >>> longer("", ""), longer("~x100", "x100.1010000000017")
    ('~', '~x100~x100.1010000000017')
    """
    grown = f"{trail}~{cursor}"
    while len(grown) > MAX_TRAIL:
        grown = "~" + grown[1:].partition("~")[2]
    return grown


def back(trail: str) -> tuple[str, str] | None:
    """Return (cursor of the page before, the trail to it), or None when the trail is empty.

    >>> back("~"), back("~~x100"), back("")
    (('', ''), ('x100', '~'), None)
    """
    if not trail:
        return None
    rest, _, cursor = trail.rpartition("~")
    return cursor, rest
