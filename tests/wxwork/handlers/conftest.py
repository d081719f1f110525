"""Handlers on real databases, against a corp that was synced once."""

from collections.abc import Iterator
from typing import Any

import pytest

from scrm.held import forget_all
from tests.wxwork.sync.conftest import synced

__all__ = ["synced"]


@pytest.fixture(autouse=True)
def _ground(clean_databases: None, settings: Any) -> Iterator[None]:
    forget_all()
    yield
    forget_all()
