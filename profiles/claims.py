"""Claims of work on one bucket, in the department database beside what they guard. Rows are the truth.

    waiting ──take──> running ──end of phase 1 and of 3──> done      (phase 2 goes straight on to 3)
     ^   ^               │ ├──fail, release──> waiting   (due later each time)
     │   │               │ └──no progress in MAX_ATTEMPTS──> failed
     │   └──(nobody)     └──silent for SILENT_SECONDS: whoever takes it goes on from its position
     └── done with phase 1: `open_second` sends it to phase 2, once everybody has reported and the fit is made

Taking a claim gives it a new token. Every transaction that does a claim's work ends with `advance`, an UPDATE that must
find the token: a worker that was stopped, and overtaken while it slept, finds none and its transaction rolls back.
All times are the department database's own, so that machines need not agree.
"""

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

import orjson
from django.db import OperationalError

from scrm import sharding
from scrm.sharding.ids import BUCKETS

REPORT, FULL, INCREMENTAL = "report", "full", "incremental"
# What is done to the customers of a bucket, in this order. A claim that only reports has but the first.
CLASSIFY, SCORE, ACT = 1, 2, 3
# The keeper looks every ten seconds: what a killed worker had begun, and what it had only been told of, is taken up
# within a minute.
SILENT_SECONDS = 30
OFFER_AGAIN_SECONDS = 30
MAX_ATTEMPTS = 5
RETRY_SECONDS = (0, 5, 20, 60, 180, 600)
ERROR_LENGTH = 2000
LOCK_NOT_AVAILABLE = "55P03"
MAKERS_LOCK = 0x636C61696D73  # "claims"

SILENT = f"(state = 'running' AND heartbeat < clock_timestamp() - interval '{SILENT_SECONDS} seconds')"
FREE = f"((state = 'waiting' AND due_at <= clock_timestamp()) OR {SILENT})"

# An older run's claims end here, whoever works on them: after this commit their token fits no more. Runs that only
# report disturb nobody. A run that has itself been overtaken makes none.
END_OLDER = """
UPDATE run_claims SET state = 'failed', token = NULL, error = %(error)s, finished_at = clock_timestamp()
WHERE run_id < %(run_id)s AND state IN ('waiting', 'running') AND mode <> 'report'
"""
MAKE = """
INSERT INTO run_claims (run_id, bucket, state, token, heartbeat, due_at, attempts, error, mode, position, total, judged,
    changed, updated, moves, classes, samples, phase, phases)
SELECT %(run_id)s, bucket, 'waiting', NULL, clock_timestamp(), clock_timestamp(), 0, '', %(mode)s, 0, 0, 0, 0, 0,
    '[]', '{}', '[]', 1, '{}'
FROM generate_series(0, %(buckets)s - 1) AS bucket
WHERE %(mode)s = 'report' OR NOT EXISTS (SELECT 1 FROM run_claims WHERE run_id > %(run_id)s AND mode <> 'report')
ON CONFLICT (run_id, bucket) DO NOTHING
"""
OPEN_SECOND = f"""
UPDATE run_claims SET state = 'waiting', phase = {SCORE}, position = 0, token = NULL, offered_at = NULL, attempts = 0,
    error = '', due_at = clock_timestamp(), finished_at = NULL
WHERE run_id = %(run_id)s AND state = 'done' AND phase = {CLASSIFY} AND mode <> '{REPORT}'
  AND NOT EXISTS (SELECT 1 FROM run_claims WHERE run_id > %(run_id)s AND mode <> '{REPORT}')
"""  # noqa: S608 - made of constants
COLUMNS = "mode, position, total, judged, changed, updated, moves, classes, samples, phase, phases"
GIVE_UP = f"""
UPDATE run_claims SET state = 'failed', token = NULL, finished_at = clock_timestamp(),
    error = CASE WHEN error = '' THEN 'Its workers stopped without a word.' ELSE error END
WHERE run_id = %(run_id)s AND {FREE} AND attempts >= {MAX_ATTEMPTS}
"""  # noqa: S608 - made of constants
TAKE = f"""
UPDATE run_claims SET state = 'running', token = %(token)s, heartbeat = clock_timestamp(), attempts = attempts + 1,
    started_at = COALESCE(started_at, clock_timestamp())
WHERE run_id = %(run_id)s AND bucket = %(bucket)s AND {FREE} AND attempts < {MAX_ATTEMPTS}
RETURNING {COLUMNS}
"""  # noqa: S608
ADVANCE = f"""
UPDATE run_claims SET heartbeat = clock_timestamp(), mode = %(mode)s, total = %(total)s, judged = %(judged)s,
    changed = %(changed)s, updated = %(updated)s, moves = %(moves)s, classes = %(classes)s, samples = %(samples)s,
    phases = %(phases)s,
    position = CASE WHEN %(goes_on)s THEN 0 ELSE %(position)s END,
    phase = CASE WHEN %(goes_on)s THEN {ACT} ELSE phase END,
    attempts = CASE WHEN %(goes_on)s OR position < %(position)s THEN 0 ELSE attempts END,
    error = CASE WHEN %(goes_on)s OR position < %(position)s THEN '' ELSE error END,
    state = CASE WHEN %(ends)s THEN 'done' ELSE state END, token = CASE WHEN %(ends)s THEN NULL ELSE token END,
    finished_at = CASE WHEN %(ends)s THEN clock_timestamp() END
WHERE run_id = %(run_id)s AND bucket = %(bucket)s AND token = %(token)s AND state = 'running' AND phase = %(phase)s
"""  # noqa: S608 - made of constants
GIVE_BACK = """
UPDATE run_claims SET state = 'waiting', token = NULL, error = %(error)s, offered_at = NULL,
    attempts = CASE WHEN %(error)s = '' THEN 0 ELSE attempts END,
    due_at = clock_timestamp() + interval '1 second' * CASE WHEN %(error)s = '' THEN 0
        ELSE (%(seconds)s::int[])[LEAST(attempts, %(last)s) + 1] END
WHERE run_id = %(run_id)s AND bucket = %(bucket)s AND token = %(token)s AND state = 'running'
"""
OFFER = f"""
UPDATE run_claims SET offered_at = clock_timestamp()
WHERE run_id = %(run_id)s AND {FREE}
  AND (offered_at IS NULL OR offered_at < clock_timestamp() - interval '{OFFER_AGAIN_SECONDS} seconds'
       OR ({SILENT} AND offered_at < heartbeat))
RETURNING bucket
"""  # noqa: S608


class ClaimLostError(Exception):
    """Somebody else has the claim, or its run has been overtaken: whatever was being done must be rolled back."""


@dataclass
class Claim:
    """A claim that this process holds, with what has been counted so far (moves: {(from, to): customers})."""

    run_id: int
    home: int
    bucket: int
    token: uuid.UUID
    mode: str
    position: int
    total: int
    judged: int
    changed: int
    updated: int
    moves: Counter[tuple[str | None, str]] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)
    samples: dict[tuple[str | None, str], list[int]] = field(default_factory=dict)
    phase: int = CLASSIFY
    phases: dict[str, dict[str, Any]] = field(default_factory=dict)
    # When this process last added to the seconds of a phase.
    timed_at: float = field(default_factory=time.monotonic, repr=False)

    @property
    def tally(self) -> dict[str, Any]:
        """What has been counted in the phase that the claim is in, to be added to: total, done, written, seconds."""
        return self.phases.setdefault(str(self.phase), {"total": 0, "done": 0, "written": 0, "seconds": 0.0})

    def go_on(self) -> bool:
        """Turn to the next phase after a transaction has ended this one; False when the claim is done with for now."""
        if self.phase != SCORE:
            return False
        self.phase, self.position = ACT, 0
        return True


@dataclass(frozen=True)
class ClaimView:
    """What one claim looks like from outside.

    is_free: nobody works on it. moves: [[from or None, to, customers]]. samples: [[from or None, to, [customer_id]]].
    phases: {phase: Claim.tally}.
    """

    bucket: int
    state: str
    is_free: bool
    error: str
    mode: str
    total: int
    judged: int
    changed: int
    updated: int
    moves: list[list[Any]]
    classes: dict[str, int]
    samples: list[list[Any]]
    phase: int
    phases: dict[str, dict[str, Any]]
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def has_reported(self) -> bool:
        """Whether the first phase of it is over."""
        return self.state in ("done", "failed") or self.phase > CLASSIFY

    @property
    def is_over(self) -> bool:
        """Whether nothing will be done about it any more."""
        return self.state == "failed" or (self.state == "done" and (self.phase == ACT or self.mode == REPORT))

    @property
    def waits_for_others(self) -> bool:
        """Whether it is done with the first phase and has a second."""
        return self.has_reported and not self.is_over and self.phase == CLASSIFY

    @property
    def share(self) -> float:
        """How much of it is done, from 0 to 1; each of its phases is as much as the others."""
        if self.is_over:
            return 1.0
        if self.phase > CLASSIFY:
            tally = self.phases.get(str(self.phase), {})
            part, total = tally.get("done", 0), tally.get("total", 0)
        else:
            part, total = self.judged, self.total
        within = 1.0 if self.waits_for_others else min(part / total, 1.0) if total else 0.0
        return within if self.mode == REPORT else (self.phase - CLASSIFY + within) / ACT


VIEW = [one.name for one in fields(ClaimView)]


def make(run_id: int, home: int, *, only_report: bool, second: bool = False) -> None:
    """See to it that a run has its claims on a home, and that no older run has any that writes. Repeatable.

    second: everybody has reported, so that those which are done with the first phase go on with the second.

    Database: the home's, one transaction. Raises HomeUnavailableError.
    """
    mode = "report" if only_report else ""
    with sharding.atomic_home(home), sharding.cursor(home) as cursor:
        # Of two runs that come here at once the second sees what the first has made.
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [MAKERS_LOCK])
        if not only_report:
            cursor.execute(END_OLDER, {"run_id": run_id, "error": f"Overtaken by run {run_id}."})
        cursor.execute(MAKE, {"run_id": run_id, "mode": mode, "buckets": BUCKETS})
        if second:
            cursor.execute(OPEN_SECOND, {"run_id": run_id})


def take(
    run_id: int, home: int, bucket: int, *, begin: Callable[[Any, Claim], object] = lambda *_: None
) -> Claim | None:
    """Take a claim that is waiting or silent; None when it is neither, or when others are quicker.

    begin: called with a cursor and the claim before the transaction ends.
    Database: the home's, one transaction. Raises HomeUnavailableError.
    """
    token = uuid.uuid4()
    try:
        with sharding.atomic_home(home), sharding.cursor(home) as cursor:
            # The row is locked while its worker commits; a worker that is stopped just there is ended by the server.
            # Nothing is lost with a claim that is taken and, in a crash of the server, is not.
            cursor.execute(
                "SELECT set_config('lock_timeout', '2s', true), set_config('synchronous_commit', 'off', true)"
            )
            cursor.execute(TAKE, {"run_id": run_id, "bucket": bucket, "token": token})
            row = cursor.fetchone()
            if row is None:
                cursor.execute(GIVE_UP, {"run_id": run_id})
                return None
            claim = _claim_of(run_id, home, bucket, token, row)
            begin(cursor, claim)
            return claim
    except OperationalError as error:
        if sqlstate(error) == LOCK_NOT_AVAILABLE:
            return None
        raise


def _claim_of(run_id: int, home: int, bucket: int, token: uuid.UUID, row: Sequence[Any]) -> Claim:
    """Return the claim that a row of COLUMNS is of."""
    mode, position, total, judged, changed, updated = row[:6]
    claim = Claim(run_id, home, bucket, token, mode, position, total, judged, changed, updated)
    moves, classes, samples, claim.phase, phases = row[6:]
    claim.moves = Counter({(before, after): count for before, after, count in orjson.loads(moves)})
    claim.classes = Counter(orjson.loads(classes))
    claim.samples = {(before, after): ids for before, after, ids in orjson.loads(samples)}
    claim.phases = orjson.loads(phases)
    return claim


def advance(cursor: Any, claim: Claim, *, ends: bool = False) -> None:
    """Store how far a claim has come: the last statement on its database in each transaction of it.

    ends: with this its phase is over. After the first one it waits for the others, after the second the third begins
    (Claim.go_on, once the transaction is committed), after the third it is done.
    Raises ClaimLostError, which must roll the transaction back.
    """
    now = time.monotonic()
    claim.tally["seconds"] = round(claim.tally["seconds"] + now - claim.timed_at, 3)
    claim.timed_at = now
    values = {
        **vars(claim),
        "moves": _json([[before, after, count] for (before, after), count in claim.moves.items()]),
        "classes": _json(claim.classes),
        "samples": _json([[before, after, ids] for (before, after), ids in claim.samples.items()]),
        "phases": _json(claim.phases),
        "goes_on": ends and claim.phase == SCORE,
        "ends": ends and claim.phase != SCORE,
    }
    cursor.execute(ADVANCE, values)
    if cursor.rowcount != 1:
        raise ClaimLostError(f"Claim {claim.run_id}/{claim.home}/{claim.bucket} is no longer ours.")


def give_back(claim: Claim, *, error: str = "") -> None:
    """Let a claim go, to be taken again: at once, or after a while that grows with its attempts if there was an error.

    Nothing happens if it is no longer ours. Database: the home's, one transaction. Raises HomeUnavailableError.
    """
    with sharding.atomic_home(claim.home), sharding.cursor(claim.home) as cursor:
        cursor.execute(
            GIVE_BACK,
            {"error": error[:ERROR_LENGTH], "seconds": list(RETRY_SECONDS), "last": len(RETRY_SECONDS) - 1}
            | {"run_id": claim.run_id, "bucket": claim.bucket, "token": claim.token},
        )


def offer(run_id: int, home: int) -> list[int]:
    """Return the buckets that a worker should be told of now, and note that one is. Ends those that never get on.

    Database: the home's, one transaction. Raises HomeUnavailableError.
    """
    with sharding.atomic_home(home), sharding.cursor(home) as cursor:
        cursor.execute(GIVE_UP, {"run_id": run_id})
        cursor.execute(OFFER, {"run_id": run_id})
        return sorted(bucket for (bucket,) in cursor.fetchall())


def views(run_id: int, home: int) -> list[ClaimView]:
    """Return a run's claims on a home, in order of bucket. Database: one query on the home's."""
    with sharding.cursor(home) as cursor:
        cursor.execute(
            f"SELECT {', '.join(VIEW)} FROM (SELECT *, {FREE} AS is_free FROM run_claims WHERE run_id = %s) AS claim "  # noqa: S608
            "ORDER BY bucket",
            [run_id],
        )
        rows = cursor.fetchall()
    return [
        ClaimView(**row | {name: orjson.loads(row[name]) for name in ("classes", "moves", "samples", "phases")})
        for row in (dict(zip(VIEW, row, strict=True)) for row in rows)
    ]


def merged(moves: Iterable[list[Any]]) -> list[list[Any]]:
    """Return moves of several claims as one list, the most frequent first.

    >>> merged([[None, "潜在客户", 3], [None, "潜在客户", 4]])
    [[None, '潜在客户', 7]]
    """
    total: Counter[tuple[str | None, str]] = Counter()
    for before, after, count in moves:
        total[before, after] += count
    return [[before, after, count] for (before, after), count in total.most_common()]


def sqlstate(error: BaseException) -> str:
    """Return PostgreSQL's code of a Django database error, or an empty text."""
    return getattr(error.__cause__, "sqlstate", None) or ""


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
