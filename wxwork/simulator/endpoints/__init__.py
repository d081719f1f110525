"""The endpoints, by the families of contract §4. Importing this declares them all."""

from wxwork.simulator.endpoints import (  # noqa: F401 - they declare
    acquisition,
    contact_ways,
    contacts,
    customers,
    groups,
    inheritance,
    mass_messages,
    media,
    messages,
    statistics,
    tags,
    tokens,
    welcome,
)
from wxwork.simulator.endpoints.registry import ENDPOINTS, Binary, Call, Endpoint, Upload

__all__ = ["ENDPOINTS", "Binary", "Call", "Endpoint", "Upload"]
