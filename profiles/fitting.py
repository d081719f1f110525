"""What all customers together say: thresholds of RFM and the parameters of the value model, once for each run."""

from dataclasses import dataclass, field
from typing import Any

from profiles.models import ProfileRun


@dataclass
class Fitted:
    """rfm, value_model: as they are kept on the run. without: homes that could not be asked."""

    rfm: dict[str, Any] | None = None
    value_model: dict[str, Any] | None = None
    without: list[int] = field(default_factory=list)


def fit(run: ProfileRun) -> Fitted:
    """Fit a run."""
    return Fitted()
