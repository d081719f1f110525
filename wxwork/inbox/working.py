"""Work on what is due: claim the next callback, have it handled, write down what became of it, again.

A worker process may be killed or stopped anywhere: see claims. A handler is called at least once for each arrival.
"""

import time
import traceback

import structlog
from django.db import DatabaseError, connection
from django.utils import timezone

from wxwork.errors import ConfigError
from wxwork.handlers import find_handler
from wxwork.inbox import claims, forgetting
from wxwork.inbox.claims import Claim
from wxwork.inbox.outcomes import DONE, IGNORED, MAX_ATTEMPTS, Outcome, dead, describe, outcome_of
from wxwork.messages import MessageError, parse_message
from wxwork.models import Callback

logger = structlog.get_logger(__name__)

# A worker that does this for long keeps other tasks waiting: it says that there is more, and lets them in.
SLICE_SECONDS = 2.0
SILENT = "Its workers stopped without a word."


def work(*, seconds: float = SLICE_SECONDS) -> tuple[int, bool]:
    """Work until nothing is due, or the time is over. Returns how many callbacks, and whether there may be more."""
    until = time.monotonic() + seconds
    done = 0
    while (claim := claims.take()) is not None:
        work_on(claim)
        done += 1
        if time.monotonic() >= until:
            return done, True
    return done, False


def work_on(claim: Claim) -> Outcome:
    """Handle a claimed callback and write down what became of it."""
    with claims.kept(claim):
        outcome = _handle(claim)
        forget, xml = False, None
        if outcome.state != Callback.State.PENDING:
            forget, xml = forgetting.what_to_forget(claim.external_userid, claim.xml)
    if not claims.finish(claim, outcome, forget=forget, xml=xml):
        logger.warning("callback_claim_lost", callback=claim.id)
    return outcome


def _handle(claim: Claim) -> Outcome:
    if claim.attempts > MAX_ATTEMPTS:
        return dead(SILENT)
    try:
        message = parse_message(claim.xml.encode())
        handler = find_handler(message)
        if handler is None:
            return IGNORED
        handler(message)
    except MessageError as error:
        return dead(describe(error))
    except Exception as error:
        if isinstance(error, DatabaseError):
            connection.close_if_unusable_or_obsolete()
        outcome = outcome_of(error, attempts=claim.attempts, received_at=claim.received_at, now=timezone.now())
        _log(claim, error, outcome)
        return outcome
    return DONE


def _log(claim: Claim, error: Exception, outcome: Outcome) -> None:
    facts = {"callback": claim.id, "kind": f"{claim.event}/{claim.change_type}", "error": type(error).__name__}
    if outcome.state == Callback.State.DEAD:
        # Not its text, which holds what was wrong, a mobile number say: the place and the kind of error say enough.
        logger.error("callback_dead", **facts, stack="".join(traceback.format_tb(error.__traceback__)))
    elif isinstance(error, ConfigError):
        logger.error("callback_waits_for_settings", **facts, reason=str(error))
    else:
        logger.info("callback_waits", **facts, attempts=claim.attempts, seconds=round(outcome.seconds, 1))
