"""What becomes of a callback, by what its handler raised.

    raised                                                         outcome
    nothing                                                        done
    HomeError; DirectoryError department_unavailable,              waits, no attempt is used up; asked again after a
      erasure_in_progress                                            quarter of its age, 2 to 30 s
    ConfigError (wrong secret, IP, breaker open)                   the same, 2 to 300 s, and loudly: it is not its fault
      that is about one object (PER_OBJECT)                        after DAYS_OF_PATIENCE a dead letter: its key goes on
    UnreachableError (WeCom, or the way to it, is down)            the same as a wrong secret, for DAYS_OF_PATIENCE
    LimitedError                                                   waits as long as it says; no attempt is used up
    RetryError, LaterError; DirectoryError busy;                   tried again after 2, 4, 8 … 1800 s, LaterError not
      OperationalError, InterfaceError; OSError                      before 30 s; dead after MAX_ATTEMPTS
    anything else                                                  dead letter

All delays are spread by a quarter, so that a thousand callbacks that failed together do not come back together.
"""

import random
from dataclasses import dataclass
from datetime import datetime

from django.db import DatabaseError, InterfaceError, OperationalError

from customers.directory import DirectoryError
from scrm.sharding import HomeError
from wxwork.errors import ConfigError, LaterError, LimitedError, RetryError, UnreachableError
from wxwork.inbox.masking import mask_digits
from wxwork.models import Callback

MAX_ATTEMPTS = 16
FIRST_RETRY_SECONDS = 2.0
LAST_RETRY_SECONDS = 1800.0
LATER_SECONDS = 30.0
SHORTEST_WAIT_SECONDS = 2.0
HOME_WAIT_SECONDS = 30.0
CONFIG_WAIT_SECONDS = 300.0
# Out of our visible range; staff who may not have customers. It may be meant so for ever.
PER_OBJECT = {50002, 60011, 60021, 84074}
DAYS_OF_PATIENCE = 3
SPREAD = 0.25

WAITING_CODES = {"department_unavailable", "erasure_in_progress"}
RETRIED_CODES = {"busy"}


@dataclass(frozen=True)
class Outcome:
    """state: of the callback from now on. seconds: until it is tried again. is_free: it counts as no attempt."""

    state: str
    seconds: float = 0.0
    is_free: bool = False
    error: str = ""


DONE = Outcome(Callback.State.DONE)
IGNORED = Outcome(Callback.State.IGNORED)


def dead(error: str) -> Outcome:
    """Return the outcome of what is not tried again."""
    return Outcome(Callback.State.DEAD, error=error)


def outcome_of(error: Exception, *, attempts: int, received_at: datetime, now: datetime) -> Outcome:
    """Return what becomes of a callback whose handler raised. attempts: with this one."""
    said = describe(error)
    age = max(0.0, (now - received_at).total_seconds())
    code = error.code if isinstance(error, DirectoryError) else ""
    if isinstance(error, HomeError) or code in WAITING_CODES:
        return _wait(_share(age, HOME_WAIT_SECONDS), said)
    is_patient = age < DAYS_OF_PATIENCE * 86_400
    if isinstance(error, ConfigError) and (is_patient or error.code not in PER_OBJECT):
        return _wait(_share(age, CONFIG_WAIT_SECONDS), said)
    if isinstance(error, UnreachableError) and is_patient:
        return _wait(_share(age, CONFIG_WAIT_SECONDS), said)
    if isinstance(error, LimitedError):
        return _wait(max(0.0, error.retry_after_seconds), said)
    if code in RETRIED_CODES or isinstance(
        error, RetryError | LaterError | OperationalError | InterfaceError | OSError
    ):
        if attempts >= MAX_ATTEMPTS:
            return dead(said)
        seconds = min(FIRST_RETRY_SECONDS * 2 ** (attempts - 1), LAST_RETRY_SECONDS)
        if isinstance(error, LaterError):
            seconds = max(seconds, LATER_SECONDS)
        return Outcome(Callback.State.PENDING, _spread(seconds), False, said)
    return dead(said)


def describe(error: Exception) -> str:
    """Return what is kept of an error: no values of rows, which a database's message may hold, and no long numbers."""
    if isinstance(error, DatabaseError):
        diag = getattr(error.__cause__, "diag", None)
        text = getattr(diag, "message_primary", None) or str(error).partition("\n")[0]
    else:
        text = str(error)
    # What was answered may hold what PostgreSQL does not take.
    text = text.encode(errors="replace").decode().replace("\0", "\ufffd")
    return mask_digits(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def _wait(seconds: float, said: str) -> Outcome:
    return Outcome(Callback.State.PENDING, _spread(seconds), True, said)


def _share(age: float, longest: float) -> float:
    return min(max(age / 4, SHORTEST_WAIT_SECONDS), longest)


def _spread(seconds: float) -> float:
    return seconds * (1 + SPREAD * random.random())  # noqa: S311 - spreads load, keeps no secret
