"""What happens in WeCom's own clients, in its console, and to time. Importing this declares every act."""

from wxwork.simulator.acts import (  # noqa: F401 - they declare
    acquisition,
    apps,
    bulk,
    customers,
    groups,
    staff,
    tags,
    time,
)
from wxwork.simulator.acts.registry import ACTS, ActError, Doing, perform

__all__ = ["ACTS", "ActError", "Doing", "perform"]
