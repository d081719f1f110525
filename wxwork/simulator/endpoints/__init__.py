"""The endpoints, by the families of contract §4. Importing this declares them all."""

from wxwork.simulator.endpoints import contacts, customers, tags, tokens  # noqa: F401 - they declare
from wxwork.simulator.endpoints.registry import ENDPOINTS, Binary, Call, Endpoint, Upload

__all__ = ["ENDPOINTS", "Binary", "Call", "Endpoint", "Upload"]
