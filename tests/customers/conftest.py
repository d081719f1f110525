"""What the tests of customers share: real databases, a cache that can be stopped, and nothing kept from before."""

from collections.abc import Callable, Iterator

import pytest
from django.conf import settings

from customers.lookup import CACHE
from scrm.cache import CacheClient
from scrm.held import forget_all
from tests.servers import PrivateValkey


@pytest.fixture(autouse=True)
def _nothing_held(clean_databases: None) -> Iterator[None]:
    """Make what processes hold (open homes, organisation, tags) be read anew in each test."""
    forget_all()
    yield
    forget_all()


@pytest.fixture
def private_cache(
    valkey_server: Callable[..., PrivateValkey], monkeypatch: pytest.MonkeyPatch
) -> Iterator[PrivateValkey]:
    """Put the cache of customers on a Valkey of the test's own, which it may stop; of processes asked later too."""
    server = valkey_server()
    before = CACHE.client
    monkeypatch.setattr(settings, "REDIS_URL", server.url)
    monkeypatch.setenv("REDIS_URL", server.url)
    CACHE.__dict__["client"] = CacheClient.from_url(server.url, open_seconds=0.05)
    yield server
    CACHE.__dict__["client"] = before
