"""Welcome messages: which one is owed to whom.

    of several active messages                                              example
    1  the one for the channel (state) that the customer came by            expo2026_hz
    2  the one for the nearest department at or above the staff member's    杭州门店
    3  the one for everybody

A callback that brings a welcome code makes a delivery, in the statement that stores the callback, if any message is
active. Which one it will be is chosen when it is sent (welcome_sending); if there is none, nothing was owed. The 20 s
are the database's: the clock of a web server or a worker may be wrong.
Texts hold {name} for the customer's name and {staff} for the staff member's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Case, TextField, Value, When
from django.db.models.functions import Concat, Now, Trim

from scrm.held import Held
from wxwork.messages import Message
from wxwork.models import WelcomeDelivery, WelcomeMessage

SECONDS = 20
TOO_LATE = f"已超过 {SECONDS} 秒，企业微信不再接受。"
CUT_OFF = "发送时进程中断，可能已经发出。"
MAX_TEXT_BYTES = 4000
# WeCom's names have up to 32 characters, of 4 bytes at most.
MAX_NAME_BYTES = 128
NAME, STAFF = "{name}", "{staff}"
FEW = 8
HELD_SECONDS = 10.0
# Better an old answer than none: asking must not fail the answer to WeCom.
STALE_SECONDS = 3600.0

State = WelcomeDelivery.State


@dataclass(frozen=True)
class Choice:
    """What an active message is chosen by."""

    id: int
    text: str
    state: str
    departments: frozenset[int]


def _read() -> tuple[Choice, ...]:
    rows = WelcomeMessage.objects.filter(is_active=True).order_by("id").prefetch_related("departments")
    return tuple(
        Choice(row.id, row.text, row.state, frozenset(one.pk for one in row.departments.all())) for row in rows
    )


# Database: two queries on the control database, at most every 10 s.
active_messages = Held(_read, seconds=HELD_SECONDS, stale_seconds=STALE_SECONDS)


def code_owed(message: Message) -> str:
    """Return the code by which somebody is to be welcomed; empty if there is none, or no welcome is configured."""
    if message.event != "change_external_contact":
        return ""
    code = message.text("WelcomeCode")
    return code if code and active_messages() else ""


def choose(messages: Sequence[Choice], *, state: str, departments: Sequence[int]) -> Choice | None:
    """Return the most specific message. departments: the staff member's and those above, nearest first.

    >>> general, hangzhou = Choice(1, "hi", "", frozenset()), Choice(2, "hi", "", frozenset({3}))
    >>> expo = Choice(3, "hi", "expo", frozenset())
    >>> [choose([general, hangzhou, expo], state=s, departments=d).id
    ...  for s, d in [("", [1]), ("", [3, 1]), ("expo", [3])]]
    [1, 2, 3]
    """
    place = {department: number for number, department in reversed(list(enumerate(departments)))}
    best: tuple[tuple[bool, bool, int, int], Choice] | None = None
    for one in messages:
        nearest = min((place[d] for d in one.departments if d in place), default=None)
        if one.state not in ("", state) or (one.departments and nearest is None):
            continue
        rank = (one.state != "", nearest is not None, -(nearest or 0), one.id)
        if best is None or rank > best[0]:
            best = rank, one
    return best[1] if best else None


def text_problem(text: str) -> str:
    """Say in words why a text cannot be sent; empty if it can, whatever the names."""
    if not text.strip():
        return "文字不能为空。"
    names = text.count(NAME) + text.count(STAFF)
    size = len(text.replace(NAME, "").replace(STAFF, "").encode()) + names * MAX_NAME_BYTES
    if size > MAX_TEXT_BYTES:
        return f"最多 {MAX_TEXT_BYTES} 字节，现在最多会有 {size} 字节（每个名字按 {MAX_NAME_BYTES} 字节计）。"
    return ""


def end_late() -> int:
    """Call failed what nobody has sent in time, also what a worker that died was sending. Returns how many."""
    late = WelcomeDelivery.objects.filter(state__in=[State.OWED, State.SENDING], expires_at__lt=Now())
    why = Case(When(state=State.SENDING, then=Value(CUT_OFF)), default=Value(TOO_LATE), output_field=TextField())
    error = Trim(Concat("error", Value(" "), why, output_field=TextField()))
    return late.update(state=State.FAILED, welcome_code="", error=error)


def due() -> int:
    """Return how many welcomes are owed and due, at most a few."""
    return len(WelcomeDelivery.objects.filter(state=State.OWED, due_at__lte=Now()).values_list("id")[:FEW])
