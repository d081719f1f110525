"""What doctor finds, and the list of those who look."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. remedy: what to do. is_problem: False for what is only worth knowing."""

    trouble: str
    remedy: str = ""
    is_problem: bool = True


Look = Callable[[], Iterable[Finding]]
_looks: dict[str, Look] = {}


def register(subject: str, look: Look) -> None:
    """Let an app look at something of its own. What it raises becomes a finding, and stops no other."""
    if subject in _looks:
        raise ValueError(f"There is a look at {subject} already.")
    _looks[subject] = look


def registered() -> dict[str, Look]:
    """Return what apps have registered, in that order."""
    return dict(_looks)
