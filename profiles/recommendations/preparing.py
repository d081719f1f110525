"""What one process does about recommendations between the phases of a run, before buckets are judged."""

from collections.abc import Mapping
from typing import Any

from profiles.models import ProfileRun
from profiles.recommendations import affinities, feedback, rules


def prepare(run: ProfileRun) -> dict[str, Any]:
    """Name broken rules, count feedback and what goes together. Returns what the run's summary says of it. Repeatable.

    {"broken_rules": [{rule, name, reason}], "affinities": {items, pairs, written, unavailable}, "feedback_without": []}
    Whatever goes wrong is raised; profiles.steps sees to it that it costs no customer a suggestion.
    """
    found = {
        "broken_rules": rules.name_broken(rules.read_plan()),
        "feedback_without": feedback.recount(),
        "affinities": affinities.compute(run),
    }
    return {"recommendations": found}


def homes_missed(notes: Mapping[str, Any]) -> list[int]:
    """Return the homes that could not be reached, of what prepare has returned."""
    found = notes["recommendations"]
    return sorted({*found["feedback_without"], *found["affinities"]["unavailable"]})
