"""Behaviours that WeCom tells of: that somebody added a member of staff, left one, joined or left a group.

kind           userid part   at                                   told by
added          staff         createtime of the relation           callback, sync
lost           staff         CreateTime of the callback           callback (no read shows it)
joined_group   chat_id       join_time of the member              callback, sync of groups
left_group     chat_id       CreateTime of the callback, or of    callback, sync of groups
                             the sync's read
acquired       staff         CreateTime of the first message      callback

    event_id   wecom:<kind>:<userid>:<external_userid>:<time in Unix seconds>      source and channel: wecom

The time in the id is WeCom's own, never ours, so that a callback, its repeat and a sync give one id: `since` where it
is given (what belongs to a membership goes by when that began), else `at`. What has been recorded under an
id stays: a second one that says something else of it is dropped.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from django.utils import timezone

from customers.directory import MAX_BATCH, DirectoryError, addresses
from profiles.behaviours import record_behaviours
from profiles.models import BehaviourKey
from scrm import sharding

logger = structlog.get_logger(__name__)

SOURCE = CHANNEL = "wecom"
MAX_EVENT_ID = 128
# Of an item's rejections, those that another try may mend; the others mean that there is nobody, or nothing new.
WORTH_ANOTHER_TRY = {"department_unavailable", "busy", "erasure_in_progress"}
EXPECTED = {"unknown_customer", "erased", "event_id_conflict"}


@dataclass(frozen=True)
class Interaction:
    """One of them. at, since: aware, whole seconds of WeCom's time; since stands in the id instead of at."""

    kind: str
    userid: str
    external_userid: str
    at: datetime
    detail: Mapping[str, Any] | None = None
    since: datetime | None = None

    @property
    def event_id(self) -> str:
        return event_id(self.kind, self.userid, self.external_userid, self.since or self.at)


def event_id(kind: str, userid: str, external_userid: str, at: datetime) -> str:
    """Return the id of an interaction; of one that is too long its digest, which is the same each time too.

    >>> from datetime import UTC
    >>> event_id("added", "linxiaoyu", "wm1", datetime(2026, 9, 22, tzinfo=UTC))
    'wecom:added:linxiaoyu:wm1:1790035200'
    """
    name = f"wecom:{kind}:{userid}:{external_userid}:{int(at.timestamp())}"
    return name if len(name) <= MAX_EVENT_ID else f"wecom:{kind}:sha256:{hashlib.sha256(name.encode()).hexdigest()}"


def record(
    kind: str,
    userid: str,
    external_userid: str,
    at: datetime,
    detail: Mapping[str, Any] | None = None,
    *,
    since: datetime | None = None,
) -> bool:
    """Record one interaction. Returns whether it is new. Errors and cost as record_all."""
    return record_all([Interaction(kind, userid, external_userid, at, detail, since)]) == 1


def is_recorded(kind: str, userid: str, external_userid: str, at: datetime) -> bool:
    """Tell whether an interaction has been recorded. Database: one query on the control database, one on the home's."""
    customer_id = addresses([external_userid]).get(external_userid)
    if customer_id is None:
        return False
    keys = BehaviourKey.objects.using(sharding.alias(sharding.home_of(customer_id)))
    return keys.filter(
        customer_id=customer_id, source=SOURCE, event_id=event_id(kind, userid, external_userid, at)
    ).exists()


def record_all(interactions: Sequence[Interaction]) -> int:
    """Record interactions of customers who are there. Returns how many are new; a repeat records nothing.

    Nobody is created for it, and who was erased is passed over. Raises DirectoryError (department_unavailable, busy,
    erasure_in_progress) once all that can be recorded has been: repeat then.
    Database: those of record_behaviours, for 10 000 at a time.
    """
    new = 0
    failed: DirectoryError | None = None
    for begin in range(0, len(interactions), MAX_BATCH):
        part = interactions[begin : begin + MAX_BATCH]
        done = record_behaviours([_behaviour(one) for one in part], source=SOURCE, now=timezone.now())
        new += done.accepted
        for rejection in done.rejected:
            if rejection.code in WORTH_ANOTHER_TRY:
                failed = failed or DirectoryError(rejection.code, part[rejection.index].external_userid)
            elif rejection.code not in EXPECTED:
                logger.warning("interaction_not_recorded", kind=part[rejection.index].kind, code=rejection.code)
    if failed is not None:
        raise failed
    return new


def _behaviour(one: Interaction) -> dict[str, Any]:
    return {
        "event_id": one.event_id,
        "external_userid": one.external_userid,
        "kind": "interaction",
        "channel": CHANNEL,
        "occurred_at": one.at,
        "detail": {"what": one.kind, "userid": one.userid, **(one.detail or {})},
    }
