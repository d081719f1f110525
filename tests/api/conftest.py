"""What tests of endpoints share."""

from collections.abc import Iterator

import pytest

from scrm.held import forget_all
from tests.customers.conftest import private_cache

__all__ = ["private_cache"]


@pytest.fixture
def nothing_held(clean_databases: None) -> Iterator[None]:
    """Real databases, a real cache, and nothing that the process holds from the test before."""
    forget_all()
    yield
    forget_all()
