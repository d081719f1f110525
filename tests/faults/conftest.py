from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings

from customers.lookup import CACHE
from scrm.cache import CacheClient
from scrm.held import forget_all
from tests.faults.stage import Stage
from tests.servers import PrivateValkey


@pytest.fixture
def stage(
    clean_databases: None,
    valkey_server: Callable[..., PrivateValkey],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Stage]:
    """Everybody's stage: the databases, empty, and a cache of the test's own, also for this process."""
    forget_all()
    server = valkey_server()
    monkeypatch.setattr(settings, "REDIS_URL", server.url)
    before = CACHE.client
    CACHE.__dict__["client"] = CacheClient.from_url(server.url, open_seconds=0.05)
    stage = Stage(tmp_path, server)
    yield stage
    stage.close()
    CACHE.__dict__["client"] = before
    forget_all()
