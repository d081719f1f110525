"""Profile runs: started once, worked on by whoever comes, finished when every claim is over.

    start_run    the control row first (unique constraints decide races), then ten claims in each home
    work         one claim: a Celery task, classify_profiles and the tests all call it
    finish       when no claim is left: the run is done, or partial if something was not judged

A run whose start was cut short, a home that was down at the start, a worker that died: `resume` mends all three, and
the keeper calls it. A home that stays down keeps its run going (the others are done meanwhile) until the next run
starts; then the run ends as partial, and the next one does that home's share too, since nothing there was cleared.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import Any

import structlog
from django.conf import settings
from django.db import IntegrityError, connections, transaction
from django.utils import timezone

from profiles import buckets, claims, publishing
from profiles.claims import ClaimLostError, ClaimView
from profiles.days import day_of, day_zone
from profiles.models import ProfileRun, RuleVersion
from profiles.rules import MissingFactError, RuleError
from profiles.summaries import summarise
from scrm import sharding

logger = structlog.get_logger(__name__)

Kind, State = ProfileRun.Kind, ProfileRun.State
POLL_SECONDS = 0.5
START_ATTEMPTS = 10


class RunRefusedError(Exception):
    """A run cannot be started as asked; the message says why and what to do."""


@dataclass
class RunProgress:
    """How far a run is. claims: {home: its claims, none yet if they have not been made}; unavailable: homes down."""

    claims: dict[int, list[ClaimView]] = field(default_factory=dict)
    unavailable: list[int] = field(default_factory=list)

    @property
    def every_claim(self) -> list[ClaimView]:
        return [view for home in sorted(self.claims) for view in self.claims[home]]

    @property
    def is_over(self) -> bool:
        """Whether all claims of the homes that could be asked are over."""
        return all(len(views) > 0 and all(view.is_over for view in views) for views in self.claims.values())

    @property
    def share(self) -> float:
        """How much is done, from 0 to 1; a home that is down has done nothing."""
        homes = len(self.claims) + len(self.unavailable)
        shares = [sum(view.share for view in views) / len(views) for views in self.claims.values() if views]
        return sum(shares) / homes if homes else 1.0

    @property
    def judged(self) -> int:
        return sum(view.judged for view in self.every_claim)

    @property
    def changed(self) -> int:
        return sum(view.changed for view in self.every_claim)

    def free(self) -> list[tuple[int, int]]:
        """Return (home, bucket) of claims that nobody works on."""
        return [(home, view.bucket) for home, views in self.claims.items() for view in views if view.is_free]


def start_run(
    kind: str,
    as_of: date,
    *,
    full: bool = False,
    homes: Sequence[int] | None = None,
    requested_by: str = "system",
    rule_version: int | None = None,
) -> ProfileRun:
    """Start a run, or return the one that stands in its way; `is_new` of what comes back tells which.

    as_of: behaviours before that day's midnight (of the stored zone) count; today at the latest.
    homes: all of them unless given. rule_version: of a backtest only, which may try a draft (as it is when each bucket
    is judged); everybody else gets the rules in force.
    There is one nightly run a day, and one run that writes at a time: a second start returns the first. A run that only
    waits for homes that are down makes room, and so does last night's for tonight's.
    Nobody is told: see tasks.launch. Database: control, and one transaction on each home.
    Raises RunRefusedError, RuleError (no usable rules), RuleVersion.DoesNotExist, UnknownHomeError.
    """
    if day_zone().key != settings.TIME_ZONE:
        raise RunRefusedError(
            f"TIME_ZONE is {settings.TIME_ZONE}, but days have been cut in {day_zone().key}: set that."
        )
    today = day_of(timezone.now())
    if as_of > today:
        raise RunRefusedError(f"{as_of} is not over: a run counts the days before its date, {today} at the latest.")
    wanted = sorted(set(sharding.shard_map().homes if homes is None else homes))
    for home in wanted:
        sharding.alias(home)
    if rule_version is not None and kind != Kind.BACKTEST:
        raise RunRefusedError("Only a backtest may use other rules than those in force.")
    version = publishing.current_version() if rule_version is None else RuleVersion.objects.get(version=rule_version)
    publishing.rule_set_of(version)
    values = {"kind": kind, "as_of": as_of, "full": full, "homes": wanted, "requested_by": requested_by[:150]}
    for attempt in range(START_ATTEMPTS):
        try:
            with transaction.atomic():
                run = ProfileRun.objects.create(rule_version=version, **values)
            break
        except IntegrityError:
            found = _find_obstacle(kind, as_of)
            if found is not None and not _make_way(found, kind, as_of):
                return found
            if attempt == START_ATTEMPTS - 1:
                raise
    run.is_new = True
    logger.info("run_started", run=run.pk, kind=kind, as_of=as_of.isoformat(), rules=version.version, homes=wanted)
    make_claims(run)
    return run


def _find_obstacle(kind: str, as_of: date) -> ProfileRun | None:
    if kind == Kind.NIGHTLY:
        tonight = ProfileRun.objects.filter(kind=Kind.NIGHTLY, as_of=as_of).first()
        if tonight is not None:
            return tonight
    return ProfileRun.objects.filter(state=State.RUNNING).exclude(kind=Kind.BACKTEST).first()


def _make_way(run: ProfileRun, kind: str, as_of: date) -> bool:
    """End a run that only waits, or that a newer night overtakes. Returns whether it was ended."""
    if run.kind == Kind.NIGHTLY and kind == Kind.NIGHTLY and run.as_of == as_of:
        return False
    overtaken = run.kind == Kind.NIGHTLY and kind == Kind.NIGHTLY and run.as_of < as_of
    return finish(run, waits=False) or (overtaken and finish(run, waits=False, is_over=True))


def make_claims(run: ProfileRun) -> list[int]:
    """Make whatever claims of a run are missing. Returns the homes that could not be reached."""
    only_report = run.kind == Kind.BACKTEST
    answers = sharding.fan_out(lambda home: claims.make(run.pk, home, only_report=only_report), _known(run))
    return sorted([*answers.unavailable, *_unknown(run)])


def run_progress(run: ProfileRun) -> RunProgress:
    """Return how far a run is. Database: one query per home."""
    answers = sharding.fan_out(lambda home: claims.views(run.pk, home), _known(run))
    return RunProgress(answers.results, sorted([*answers.unavailable, *_unknown(run)]))


def _known(run: ProfileRun) -> list[int]:
    return [home for home in run.homes if home in sharding.shard_map()]


def _unknown(run: ProfileRun) -> list[int]:
    return [home for home in run.homes if home not in sharding.shard_map()]


def work(run_id: int, home: int, bucket: int, *, on_progress: Callable[[], object] = lambda: None) -> bool:
    """Take a claim and do it to its end. Returns whether it was ours; False when somebody else has it.

    Never raises for what goes wrong with the claim: a home that goes down leaves it silent, an error gives it back with
    the error's text, to be taken again after a while, MAX_ATTEMPTS times without getting on.
    Database: control, two queries before and one after; the home's.
    """
    run = ProfileRun.objects.select_related("rule_version").get(pk=run_id)
    if run.state != State.RUNNING:
        return False
    try:
        rule_set = publishing.rule_set_of(run.rule_version)
    except RuleError as error:
        fail(run, str(error))
        return False
    log = logger.bind(run=run_id, home=home, bucket=bucket)
    try:
        begin = partial(buckets.begin, as_of=run.as_of, rule_set=rule_set, full=run.full)
        claim = claims.take(run_id, home, bucket, begin=begin)
        if claim is None:
            return False
        try:
            buckets.classify(claim, run.as_of, rule_set, on_progress=on_progress)
        except (ClaimLostError, sharding.HomeUnavailableError):
            raise
        except (KeyboardInterrupt, SystemExit):
            claims.give_back(claim)
            raise
        except Exception as error:
            log.exception("claim_failed")
            connections[sharding.alias(home)].close()
            claims.give_back(claim, error=f"{type(error).__name__}: {error}")
            if isinstance(error, MissingFactError):
                fail(run, str(error))
            return True
    except ClaimLostError:
        log.warning("claim_lost")
        return True
    except (sharding.HomeUnavailableError, sharding.UnknownHomeError) as error:
        log.warning("claim_left", reason=str(error))
        return False
    log.info("claim_done", mode=claim.mode, judged=claim.judged, changed=claim.changed, updated=claim.updated)
    if all(view.is_over for view in claims.views(run_id, home)):
        finish(run)
    return True


def finish(run: ProfileRun, *, waits: bool = True, is_over: bool = False) -> bool:
    """End a run if its claims are over. Returns whether it is ended now.

    waits: not while a home is down. is_over: whatever its claims say (its successor ends them).
    Of several who finish a run at once one does. Database: one query per home, one or two on control.
    """
    run.refresh_from_db()
    if run.state != State.RUNNING:
        return True
    progress = run_progress(run)
    if not is_over and (not progress.is_over or (waits and progress.unavailable)):
        if progress.unavailable != run.summary.get("unavailable", []):
            summary = {"unavailable": progress.unavailable}
            ProfileRun.objects.filter(pk=run.pk, state=State.RUNNING).update(summary=summary)
            run.summary = summary
        return False
    summary = summarise(run, progress.claims, progress.unavailable)
    whole = not progress.unavailable and all(view.state == "done" for view in progress.every_claim) and progress.is_over
    return _close(run, State.DONE if whole else State.PARTIAL, summary)


def fail(run: ProfileRun, reason: str) -> None:
    """End a run whose rules cannot be evaluated. Its claims go with the next run's start."""
    logger.error("run_failed", run=run.pk, reason=reason)
    _close(run, State.FAILED, {"error": reason})


def _close(run: ProfileRun, state: str, summary: dict[str, Any]) -> bool:
    ended = ProfileRun.objects.filter(pk=run.pk, state=State.RUNNING).update(
        state=state, summary=summary, finished_at=timezone.now()
    )
    run.refresh_from_db()
    if ended:
        logger.info(
            "run_finished", run=run.pk, state=state, judged=summary.get("judged"), changed=summary.get("changed")
        )
    return True


def resume(run: ProfileRun) -> list[tuple[int, int]]:
    """Mend a run: make missing claims, end it if it is over. Returns (home, bucket) of claims to tell workers of."""
    make_claims(run)
    if finish(run):
        return []
    answers = sharding.fan_out(lambda home: claims.offer(run.pk, home), _known(run))
    return [(home, bucket) for home in sorted(answers.results) for bucket in answers.results[home]]


def run_all(run: ProfileRun, progress: Callable[[RunProgress], object] = lambda _: None) -> ProfileRun:
    """Work on a run in this process until it is over; claims that others hold are waited for.

    Returns the run, which is still running only if what is left is in homes that are down.
    progress: called with how far it is, twice a second at most.
    """
    shown_at = 0.0

    def show() -> None:
        nonlocal shown_at
        if time.monotonic() - shown_at >= POLL_SECONDS:
            shown_at = time.monotonic()
            progress(run_progress(run))

    while True:
        make_claims(run)
        now = run_progress(run)
        progress(now)
        free = now.free()
        # Several processes that help begin at different ends.
        first = os.getpid() % len(free) if free else 0
        worked = [work(run.pk, home, bucket, on_progress=show) for home, bucket in free[first:] + free[:first]]
        if finish(run) or (run.summary.get("unavailable") and run_progress(run).is_over):
            progress(run_progress(run))
            return run
        if not any(worked):
            time.sleep(POLL_SECONDS)
