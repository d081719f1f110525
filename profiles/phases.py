"""The phases of a run: what is done to the customers of a bucket, and what is done once for all of them.

    phase of a claim          by each claim's worker                                       once, by one process
    1 classify                class, lifecycle (customers that are due)
                                                              then PREPARE:  RFM thresholds and value model, …
    2 score                   RFM and value of every buyer
    3 act                     segments, recommendations
                                                              then FIGURES:  what dashboards show

A phase is a function (claim, run, on_progress): it goes on from claim.position, ends each of its transactions with
claims.advance (the last one with ends=True), and counts in claim.tally. Whatever is committed stays; whoever takes the
claim next goes on from there. Errors as of profiles.runs.work.
"""

from collections.abc import Callable
from typing import Any

from profiles import acting, buckets, figures, publishing, scoring
from profiles.claims import ACT, CLASSIFY, SCORE, Claim
from profiles.models import ProfileRun
from profiles.recommendations import preparing

# A run's phase when its claims are through and only figures are left.
FIGURES = 4

OnProgress = Callable[[], object]


def classify(claim: Claim, run: ProfileRun, on_progress: OnProgress) -> None:
    """Phase 1."""
    buckets.classify(claim, run.as_of, publishing.rule_set_of(run.rule_version), on_progress=on_progress)


PHASES: dict[int, Callable[[Claim, ProfileRun, OnProgress], None]] = {
    CLASSIFY: classify,
    SCORE: scoring.score,
    ACT: acting.act,
}


def prepare(run: ProfileRun) -> tuple[dict[str, Any], list[int]]:
    """Do what is done once before the third phase besides the fit. Repeatable.

    Returns notes for the summary, and the homes that could not be reached.
    """
    notes = preparing.prepare(run)
    return notes, preparing.homes_missed(notes)


def compute_figures(run: ProfileRun) -> list[int]:
    """Have the figures of a run's day computed. Returns the homes that could not be reached. Repeatable."""
    return figures.compute(run)
