"""What one process does about recommendations between the phases of a run, before buckets are judged."""

from typing import Any

import structlog

from profiles.models import ProfileRun
from profiles.recommendations import affinities, feedback, rules

logger = structlog.get_logger(__name__)


def prepare(run: ProfileRun) -> dict[str, Any]:
    """Name broken rules, count feedback and what goes together. Returns what the run's summary says of it. Repeatable.

    {"broken_rules": [{rule, name, reason}], "affinities": {items, pairs, written, unavailable}, "feedback_without": []}
    Whatever goes wrong costs no customer a suggestion: it is noted as "error".
    """
    found: dict[str, Any] = {}
    try:
        found["broken_rules"] = rules.name_broken(rules.read_plan())
        found["feedback_without"] = feedback.recount()
        found["affinities"] = affinities.compute(run)
    except Exception as error:
        logger.exception("recommendations_not_prepared", run=run.pk)
        found["error"] = f"{type(error).__name__}: {error}"[:2000]
    return {"recommendations": found}
