"""Send the welcome messages that are owed, within the 20 s in which WeCom takes them, once.

    owed ──take──> sending ──┬── sent
      ^                      ├── failed: taken by another app, too late, refused        (final)
      └── try again ─────────┘   WeCom busy, or another app is just sending             (while there is time)

A worker that dies while it sends leaves `sending` behind, and after 20 s the keeper calls it failed: at most once is
promised, not at least once. The code is a secret as long as it lives, and blanked when it has been used.
"""

from datetime import timedelta

import structlog
from django.db import connection
from django.db.models.functions import Now

from customers.organisation import organisation
from wxwork.client import wecom
from wxwork.errors import LimitedError, OutcomeUnknownError, RetryError, WxworkError
from wxwork.inbox.outcomes import describe
from wxwork.messages import MessageError, parse_message
from wxwork.models import WelcomeDelivery
from wxwork.welcome import MAX_TEXT_BYTES, NAME, SECONDS, STAFF, Choice, active_messages, choose

logger = structlog.get_logger(__name__)

RETRY_SECONDS = 1.5
# What a call may wait for our own budget: there is no time for more.
PATIENCE_SECONDS = 2.0
NAMELESS = "朋友"
ALREADY_USED = {41050, 41051}
MAYBE = "上一次发送没有收到企业微信的回答，可能已经发出"

State = WelcomeDelivery.State

TAKE = """
WITH next AS MATERIALIZED (
    SELECT id FROM welcome_deliveries WHERE state = 'owed' AND due_at <= now() AND expires_at > now()
    ORDER BY due_at LIMIT 1
    FOR UPDATE SKIP LOCKED
)
UPDATE welcome_deliveries AS d SET state = 'sending', attempts = attempts + 1 FROM next WHERE d.id = next.id
RETURNING d.id
"""


def send_owed() -> int:
    """Send what is owed and due, one after the other. Returns how many were sent."""
    sent = 0
    while (delivery := _take()) is not None:
        sent += _send(delivery)
    return sent


def _take() -> WelcomeDelivery | None:
    with connection.cursor() as cursor:
        cursor.execute(TAKE)
        found = cursor.fetchone()
    return WelcomeDelivery.objects.select_related("callback").get(id=found[0]) if found else None


def _send(delivery: WelcomeDelivery) -> bool:
    chosen = _chosen(delivery)
    if chosen is None:
        delivery.delete()  # nothing is owed to customers of this staff member
        return False
    delivery.message_id = chosen.id
    try:
        client = wecom(patience_seconds=PATIENCE_SECONDS)
        client.send_welcome(delivery.welcome_code, _filled(chosen.text, delivery), [])
    except (RetryError, LimitedError) as error:
        _try_again(delivery, error)
        return False
    except Exception as error:
        may_be_ours = getattr(error, "code", None) in ALREADY_USED and delivery.error.startswith(MAYBE)
        said = describe(error)
        _end(delivery, State.FAILED, f"{MAYBE}；{said}" if may_be_ours else said)
        return False
    _end(delivery, State.SENT, "")
    return True


def _chosen(delivery: WelcomeDelivery) -> Choice | None:
    """Return the message for a delivery: its channel is in the callback that it came with."""
    from_state = _state_of(delivery.callback.xml)
    company = organisation()
    departments = company.departments_of.get(_as_stored(delivery.userid), ())
    above = [at for own in departments for at in company.ancestors(own)]
    return choose(active_messages(), state=from_state, departments=above)


def _state_of(xml: str) -> str:
    try:
        return parse_message(xml.encode()).text("State")
    except MessageError:
        return ""


def _filled(text: str, delivery: WelcomeDelivery) -> str:
    """Return the text as it is sent. WeCom is asked for the customer's name only where the text wants it."""
    staff = organisation().staff_names.get(_as_stored(delivery.userid), "") or delivery.userid
    name = _name_of(delivery.external_userid) if NAME in text else ""
    filled = text.replace(STAFF, staff).replace(NAME, name)
    return filled.encode()[:MAX_TEXT_BYTES].decode("utf-8", "ignore")


def _as_stored(userid: str) -> str:
    """Return a userid as our staff have it: WeCom does not always write the same letters large."""
    names = organisation().staff_names
    if userid in names:
        return userid
    return next((one for one in names if one.casefold() == userid.casefold()), userid)


def _name_of(external_userid: str) -> str:
    """Return the name of somebody who has just been added, and so is in no database of ours yet."""
    try:
        found = wecom(patience_seconds=PATIENCE_SECONDS).get_customer(external_userid)
    except WxworkError as error:
        # Who has only half been added cannot be read; a welcome without a name is better than none.
        logger.info("welcome_without_name", code=error.code)
        return NAMELESS
    return str((found.get("external_contact") or {}).get("name") or NAMELESS)


def _try_again(delivery: WelcomeDelivery, error: RetryError | LimitedError) -> None:
    seconds = min(error.retry_after_seconds, SECONDS) if isinstance(error, LimitedError) else RETRY_SECONDS
    # Once it may have gone out, a later "used already" is no failure of ours: the reader must know.
    said = (
        f"{MAYBE}。" if isinstance(error, OutcomeUnknownError) or delivery.error.startswith(MAYBE) else describe(error)
    )
    WelcomeDelivery.objects.filter(id=delivery.id, state=State.SENDING).update(
        state=State.OWED, due_at=Now() + timedelta(seconds=seconds), error=said, message_id=delivery.message_id
    )


def _end(delivery: WelcomeDelivery, state: str, error: str) -> None:
    # Whatever its state: the keeper may have called it failed while a slow answer was on its way.
    WelcomeDelivery.objects.filter(id=delivery.id).update(
        state=state, error=error, welcome_code="", message_id=delivery.message_id,
        sent_at=Now() if state == State.SENT else None,
    )  # fmt: skip
    logger.info("welcome_ended", delivery=delivery.id, state=state)
