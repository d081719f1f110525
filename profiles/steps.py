"""The steps of a run that one process does for all of it: the fit with the preparation, and the figures.

    what happens to a step                         what becomes of it
    its process is killed                          somebody else takes it after a while; GAVE_UP after MAX_ATTEMPTS
    an error that may pass (alone.PASSING),        left, and taken again after RETRY_SECONDS by this process, or sooner
    or a home lost that was there at its begin     by another; where that happens too often, as the two below
    any other error                                the summary has its text, the run goes on without what it brings
    a home that was down at its begin              left out, which the summary says

Whatever becomes of a step costs no customer the class that was found.
"""

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

import orjson
import structlog
from django.db import connections
from django.db.models.expressions import RawSQL

from profiles import alone, claims, fitting, phases
from profiles.models import ProfileRun
from scrm import sharding

logger = structlog.get_logger(__name__)

T = TypeVar("T")
GAVE_UP = "Its workers stopped without a word."
# After the first attempt, after the second: a connection is back at once, a server within some seconds.
RETRY_SECONDS = (3, 15)


def take_fit(run: ProfileRun, *, writes: bool) -> bool:
    """Do the fit, and where the run writes what comes before recommendations, unless somebody else does.

    Returns whether to look at the run again. Database: see fitting.fit and phases.prepare; control as alone.taken.
    """
    return _take(run, "fit", partial(_do_fit, writes=writes))


def take_figures(run: ProfileRun, homes: Iterable[int]) -> bool:
    """Have the figures of these homes made, unless somebody else does. As take_fit; see phases.compute_figures."""
    return _take(run, "figures", partial(_do_figures, homes=set(homes)))


def with_notes(notes: dict[str, Any]) -> RawSQL:
    """Return an expression: the summary as it is by then, with some notes put into it."""
    return RawSQL("summary || %s::jsonb", [orjson.dumps(notes).decode()])


def _take(run: ProfileRun, name: str, do: Callable[[alone.Step], dict[str, Any]]) -> bool:
    attempts = 1
    try:
        with alone.taken(run) as step:
            if step is None:
                return False
            attempts = step.attempts
            notes = do(step)
            logger.info("run_step_done", run=run.pk, step=name, **notes)
    except alone.StepLostError as error:
        logger.warning("run_step_lost", run=run.pk, step=name, reason=str(error))
        return False
    except alone.PASSING as error:
        logger.warning("run_step_broke", run=run.pk, step=name, attempts=attempts, reason=str(error))
        connections.close_all()
        time.sleep(RETRY_SECONDS[min(attempts, len(RETRY_SECONDS)) - 1])
    return True


def _do_fit(step: alone.Step, *, writes: bool) -> dict[str, Any]:
    down = _homes_down()
    began = time.monotonic()
    fitted, error = _guarded(step, "fit", _fit, down=down)
    notes: dict[str, Any] = {"fit_error": error} if fitted is None else {"fitted_without": fitted.without}
    notes["fit_seconds"] = round(time.monotonic() - began, 2)
    if writes:
        began = time.monotonic()
        prepared, error = _guarded(step, "preparation", phases.prepare, down=down)
        notes |= prepared or {"preparation_error": error}
        notes["preparation_seconds"] = round(time.monotonic() - began, 2)
    fitted = fitted or fitting.Fitted()
    step.end(claims.SCORE, rfm=fitted.rfm, value_model=fitted.value_model, summary=with_notes(notes))
    return notes


def _do_figures(step: alone.Step, *, homes: set[int]) -> dict[str, Any]:
    began = time.monotonic()
    missed, error = _guarded(step, "figures", _compute_figures, down=_homes_down())
    # After an error all of them count as made: else they would be due again, and again.
    made = homes if error else homes - set(missed or [])
    notes = {
        "figures_of": sorted(made),
        "figures_error": error,
        "figures_seconds": round(time.monotonic() - began, 2),
    }
    step.end(phases.FIGURES, summary=with_notes(notes))
    return notes


def _fit(run: ProfileRun) -> tuple[fitting.Fitted, list[int]]:
    fitted = fitting.fit(run)
    return fitted, fitted.without


def _compute_figures(run: ProfileRun) -> tuple[list[int], list[int]]:
    missed = phases.compute_figures(run)
    return missed, missed


def _homes_down() -> set[int]:
    """Return the homes that cannot be reached now. Database: one query on each home."""

    def ask(home: int) -> None:
        with sharding.cursor(home) as cursor:
            cursor.execute("SELECT 1")

    return set(sharding.fan_out(ask).unavailable)


def _guarded(
    step: alone.Step, name: str, do: Callable[[ProfileRun], tuple[T, list[int]]], *, down: set[int]
) -> tuple[T | None, str]:
    """Return what came of a part of a step, and what was wrong with it.

    do: returns that, and the homes that it could not ask; those of them that were not down have been lost on the way.
    Raises one of alone.PASSING while the step may be taken again.
    """
    found = None
    try:
        if step.is_last_attempt:
            raise RuntimeError(GAVE_UP)
        found, missed = do(step.run)
        for home in sorted(set(missed) - down):
            raise sharding.HomeUnavailableError(home)
    except Exception as error:
        if step.may_be_repeated and isinstance(error, alone.PASSING):
            raise
        logger.exception("run_step_failed", run=step.run.pk, step=name)
        connections.close_all()
        return found, f"{type(error).__name__}: {error}"[: claims.ERROR_LENGTH]
    return found, ""
