"""Accept, dismiss, and take that back for a while.

| shown as         | accept, dismiss                    |
|------------------|------------------------------------|
| open             | done                               |
| decided the same | done already: answered alike       |
| decided otherwise | AlreadyDecidedError, with how      |
| expired, withdrawn | NotOpenError                      |

Of two who decide at once one wins, by an UPDATE that must find the row open; the other is told. A decision marks the
customer, as a behaviour does: what else is suggested for them is looked at a moment later (profiles.looking).
"""

from datetime import timedelta
from uuid import UUID

import structlog
from django.db import IntegrityError
from django.utils import timezone

from customers.audit import record
from customers.marks import mark_dirty
from profiles.days import day_zone
from profiles.models import Recommendation
from profiles.recommendations import feedback
from profiles.recommendations.reading import IS_WON, Suggestion, find
from profiles.recommendations.rules import UNDO_MINUTES, known_rules
from scrm import sharding

logger = structlog.get_logger(__name__)

State = Recommendation.State
DECISIONS = (State.ACCEPTED, State.DISMISSED)
MAX_NOTE = 500
AUDIT = {State.ACCEPTED: "accept_recommendation", State.DISMISSED: "dismiss_recommendation"}

DECIDE = """
UPDATE recommendations SET state = %(state)s, decided_at = %(now)s, decided_by = %(by)s, note = %(note)s
WHERE customer_id = %(customer_id)s AND bucket = %(bucket)s AND recommendation_id = %(id)s AND state = 'open'
"""
# Nothing is opened that readers would take as over.
UNDO = f"""
UPDATE recommendations AS r SET state = 'open', decided_at = NULL, decided_by = '', note = ''
WHERE customer_id = %(customer_id)s AND bucket = %(bucket)s AND recommendation_id = %(id)s AND state = %(state)s
  AND decided_at > %(since)s AND expires_at > %(now)s AND rule_id = ANY(%(active)s::bigint[])
  AND NOT EXISTS (SELECT 1 FROM running_totals t
                  WHERE t.customer_id = r.customer_id AND t.bucket = r.bucket AND {IS_WON})
"""  # noqa: S608 - made of constants


class DecisionError(Exception):
    """It cannot be decided; suggestion is how it is now."""

    def __init__(self, suggestion: Suggestion) -> None:
        super().__init__(f"This recommendation is {suggestion.state}.")
        self.suggestion = suggestion


class AlreadyDecidedError(DecisionError):
    """Somebody has decided otherwise."""


class NotOpenError(DecisionError):
    """It has expired, or does not hold any more."""


def decide(
    customer_id: int, recommendation_id: UUID, state: str, *, by: str, external_userid: str, note: str = ""
) -> Suggestion | None:
    """Accept or dismiss a suggestion. Returns it as it is then, None when the customer has none such.

    Repeatable: the same again changes nothing, not even who decided. Database: the home's, a query and two statements;
    control, two statements. Raises AlreadyDecidedError, NotOpenError, HomeUnavailableError.
    """
    state = State(state)
    found = find(customer_id, recommendation_id)
    if found is None or found.state == state:
        return found
    if found.state == State.OPEN:
        values = {**_key(customer_id, recommendation_id), "state": state.value, "by": by[:150], "note": note[:MAX_NOTE]}
        is_ours = _write(customer_id, DECIDE, values)
        found = find(customer_id, recommendation_id)
        if is_ours:
            _note(found, state, by, external_userid)
        if found is None or found.state == state:
            return found
    if found.state in DECISIONS:
        raise AlreadyDecidedError(found)
    raise NotOpenError(found)


def undo(customer_id: int, recommendation_id: UUID, *, by: str, external_userid: str) -> Suggestion | None:
    """Open a suggestion again that was decided in the last UNDO_MINUTES. Returns it as it is then.

    Nothing happens to one that is open, has expired, or was decided longer ago; nor where the rule has suggested anew
    or is not in use any more, nor to a win back of somebody who has bought since.
    Database: as decide.
    """
    found = find(customer_id, recommendation_id)
    if found is None or found.state not in DECISIONS:
        return found
    values = _key(customer_id, recommendation_id) | {
        "state": found.state, "since": timezone.now() - timedelta(minutes=UNDO_MINUTES),
        "active": sorted(known_rules().active), "zone": day_zone().key,
    }  # fmt: skip
    try:
        is_ours = _write(customer_id, UNDO, values)
    except IntegrityError:
        return found  # a newer one of this rule is open
    if is_ours:
        feedback.count_decision(found.rule_id, found.state, by=-1)
        record(by, "reopen_recommendation", external_userid, {"action": found.action, "rule": found.rule_id})
    return find(customer_id, recommendation_id)


def may_undo(suggestion: Suggestion) -> bool:
    """Tell whether a decision can still be taken back."""
    decided_at, now = suggestion.decided_at, timezone.now()
    return (
        suggestion.state in DECISIONS
        and decided_at is not None
        and decided_at > now - timedelta(minutes=UNDO_MINUTES)
        and suggestion.expires_at > now
        and suggestion.rule_id in known_rules().active
    )


def _write(customer_id: int, sql: str, values: dict[str, object]) -> bool:
    """Return whether a row was written. The customer is marked then, so that their other suggestions are looked at."""
    home = sharding.home_of(customer_id)
    with sharding.atomic(customer_id), sharding.cursor(home) as cursor:
        cursor.execute(sql, values)
        is_ours = bool(cursor.rowcount)
        if is_ours:
            mark_dirty(home, [customer_id])
    return is_ours


def _key(customer_id: int, recommendation_id: UUID) -> dict[str, object]:
    return {
        "customer_id": customer_id, "bucket": sharding.bucket_of(customer_id), "id": recommendation_id,
        "now": timezone.now(),
    }  # fmt: skip


def _note(found: Suggestion | None, state: State, by: str, external_userid: str) -> None:
    if found is None:
        return
    feedback.count_decision(found.rule_id, state)
    record(by, AUDIT[state], external_userid, {"action": found.action, "rule": found.rule_id, "score": found.score})
