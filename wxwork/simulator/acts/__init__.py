"""What happens in WeCom's own clients. Importing this declares every act."""

from wxwork.simulator.acts import customers  # noqa: F401 - they declare
from wxwork.simulator.acts.registry import ACTS, ActError, Doing, perform

__all__ = ["ACTS", "ActError", "Doing", "perform"]
