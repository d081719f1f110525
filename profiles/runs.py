"""Profile runs: started once, worked on by whoever comes, finished when every claim is over.

    start_run    the control row first (unique constraints decide races), then ten claims in each home
    work         one claim through its phases: a Celery task, classify_profiles and the tests all call it
    finish       when every claim that can be reached is through: the next of these

        phase     when                                         what one process does
        1         all have reported                            the fit; then their claims go on with phase 2
        2         all are through phases 2 and 3               the figures
        4         figures of all homes are made                the run is done, or partial if something was not

A run that only reports (a backtest, or one of a day before the last one) ends with its fit: nothing current changes.

A run whose start was cut short, a home that was down at the start, a worker that died: `resume` mends all three, and
the keeper calls it. A home that is down when the others have reported is left out of the fit, which the summary says;
when it comes back it goes through its phases with the run's parameters, and the figures are made again. If it stays
down, it keeps its run going until the next run starts; then the run ends as partial, and the next one does that home's
share too, since nothing there was cleared.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from functools import partial
from typing import Any

import structlog
from django.conf import settings
from django.db import IntegrityError, connections, transaction
from django.utils import timezone

from profiles import alone, buckets, claims, phases, publishing, steps
from profiles.claims import ClaimLostError, ClaimView
from profiles.days import day_of, day_zone
from profiles.models import ProfileRun, RuleVersion
from profiles.rules import MissingFactError, RuleError, RuleSet
from profiles.summaries import summarise
from scrm import sharding

logger = structlog.get_logger(__name__)

Kind, State = ProfileRun.Kind, ProfileRun.State
Wake = Callable[[ProfileRun, list[tuple[int, int]]], object]
POLL_SECONDS = 0.5
START_ATTEMPTS = 10


class Step(Enum):
    """What is to be done next about a run. WAIT: only homes that are down have something left."""

    WORK, FIT, OPEN, FIGURES, WAIT, CLOSE = "work", "fit", "open", "figures", "wait", "close"


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
    def has_reported(self) -> bool:
        """Whether all homes that could be asked are through the first phase."""
        return all(len(views) > 0 and all(view.has_reported for view in views) for views in self.claims.values())

    @property
    def is_over(self) -> bool:
        """Whether all claims of the homes that could be asked are over."""
        return all(len(views) > 0 and all(view.is_over for view in views) for views in self.claims.values())

    @property
    def writes(self) -> bool:
        """Whether any claim does more than report."""
        return any(view.mode != claims.REPORT for view in self.every_claim)

    @property
    def phase(self) -> int:
        """The phase of the claims that are furthest behind."""
        return min((view.phase for view in self.every_claim if not view.is_over), default=claims.ACT)

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
    run.refresh_from_db()
    if run.state != State.RUNNING:
        return True
    progress = run_progress(run)
    waits = next_step(run, progress) in (Step.WAIT, Step.CLOSE)
    return _end(run, progress) if waits or overtaken else False


def make_claims(run: ProfileRun) -> list[int]:
    """Make whatever claims of a run are missing, and send those to phase 2 that may go on with it.

    Returns the homes that could not be reached. Database: one transaction on each home.
    """
    only_report, second = run.kind == Kind.BACKTEST, run.phase > claims.CLASSIFY
    answers = sharding.fan_out(
        lambda home: claims.make(run.pk, home, only_report=only_report, second=second), _known(run)
    )
    return sorted([*answers.unavailable, *_unknown(run)])


def run_progress(run: ProfileRun) -> RunProgress:
    """Return how far a run is. Database: one query per home."""
    answers = sharding.fan_out(lambda home: claims.views(run.pk, home), _known(run))
    return RunProgress(answers.results, sorted([*answers.unavailable, *_unknown(run)]))


def _known(run: ProfileRun) -> list[int]:
    return [home for home in run.homes if home in sharding.shard_map()]


def _unknown(run: ProfileRun) -> list[int]:
    return [home for home in run.homes if home not in sharding.shard_map()]


def work(
    run_id: int,
    home: int,
    bucket: int,
    *,
    on_progress: Callable[[], object] = lambda: None,
    wake: Wake = lambda *_: None,
) -> bool:
    """Take a claim and do it to its end, or to where it waits for the others; do what is due then of the run.

    Returns whether it was ours; False when somebody else has it. wake: see finish.
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
        begin = partial(_begin, run=run, rule_set=rule_set)
        claim = claims.take(run_id, home, bucket, begin=begin)
        if claim is None:
            return False
        try:
            phases.PHASES[claim.phase](claim, run, on_progress)
            while claim.go_on():
                phases.PHASES[claim.phase](claim, run, on_progress)
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
    log.info(
        "claim_done",
        phase=claim.phase,
        mode=claim.mode,
        judged=claim.judged,
        changed=claim.changed,
        updated=claim.updated,
    )
    if all(view.is_over or view.waits_for_others for view in claims.views(run_id, home)):
        finish(run, wake=wake)
    return True


def _begin(cursor: Any, claim: claims.Claim, run: ProfileRun, rule_set: RuleSet) -> None:
    if claim.phase == claims.CLASSIFY:
        buckets.begin(cursor, claim, as_of=run.as_of, rule_set=rule_set, full=run.full)


def next_step(run: ProfileRun, progress: RunProgress) -> Step:
    """Return what is due of a run, as far as can be seen."""
    if not progress.claims:
        return Step.WAIT
    if not progress.has_reported:
        return Step.WORK
    if run.phase == claims.CLASSIFY:
        return Step.FIT
    if any(view.waits_for_others for view in progress.every_claim):
        return Step.OPEN
    if not progress.is_over:
        return Step.WORK
    if progress.writes and run.summary.get("figures_of") != sorted(progress.claims):
        return Step.FIGURES
    return Step.WAIT if progress.unavailable else Step.CLOSE


def finish(run: ProfileRun, *, wake: Wake = lambda *_: None) -> bool:
    """Do what is due of a run once its claims are through: the fit, the figures, its end. Returns whether it is ended.

    wake: called with the run and (home, bucket) of claims that may be worked on now.
    Of several who come at once one does it; a step that broke and may go well is taken again, after some seconds.
    Database: one query per home and step, a few on control; see profiles.steps.
    """
    while True:
        run.refresh_from_db()
        if run.state != State.RUNNING:
            return True
        progress = run_progress(run)
        match next_step(run, progress):
            case Step.CLOSE:
                return _end(run, progress)
            case Step.OPEN:
                make_claims(run)
                wake(run, _offers(run))
                return False
            case Step.FIT:
                if not steps.take_fit(run, writes=progress.writes):
                    return False
            case Step.FIGURES:
                if not steps.take_figures(run, progress.claims):
                    return False
            case _:
                if progress.unavailable != run.summary.get("unavailable", []):
                    _note(run, unavailable=progress.unavailable)
                return False


def _note(run: ProfileRun, **notes: Any) -> None:
    ProfileRun.objects.filter(pk=run.pk, state=State.RUNNING).update(summary=steps.with_notes(notes))
    run.refresh_from_db()


def _end(run: ProfileRun, progress: RunProgress) -> bool:
    summary = summarise(run, progress.claims, progress.unavailable)
    whole = progress.is_over and not progress.unavailable and not run.summary.get("fit_error")
    whole = whole and all(view.state == "done" for view in progress.every_claim)
    return _close(run, State.DONE if whole else State.PARTIAL, summary)


def fail(run: ProfileRun, reason: str) -> None:
    """End a run whose rules cannot be evaluated. Its claims go with the next run's start."""
    logger.error("run_failed", run=run.pk, reason=reason)
    _close(run, State.FAILED, {"error": reason})


def _close(run: ProfileRun, state: str, summary: dict[str, Any]) -> bool:
    ended = ProfileRun.objects.filter(pk=run.pk, state=State.RUNNING).update(
        state=state, summary=steps.with_notes(summary), finished_at=timezone.now()
    )
    run.refresh_from_db()
    if ended:
        logger.info(
            "run_finished", run=run.pk, state=state, judged=summary.get("judged"), changed=summary.get("changed")
        )
    return True


def resume(run: ProfileRun) -> list[tuple[int, int]]:
    """Mend a run: make and open missing claims, end it if it is over. Returns (home, bucket) to tell workers of.

    run.is_step_due says afterwards whether a worker should be told of the fit or the figures.
    """
    make_claims(run)
    run.refresh_from_db()
    if run.state != State.RUNNING:
        return []
    progress = run_progress(run)
    due = next_step(run, progress)
    if due == Step.CLOSE:
        _end(run, progress)
        return []
    run.is_step_due = due in (Step.FIT, Step.FIGURES) and alone.is_free(run)
    return _offers(run)


def _offers(run: ProfileRun) -> list[tuple[int, int]]:
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
        if finish(run) or next_step(run, run_progress(run)) == Step.WAIT:
            progress(run_progress(run))
            return run
        if not any(worked):
            time.sleep(POLL_SECONDS)
