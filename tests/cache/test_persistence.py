from collections.abc import Callable

import pytest
import redis

from scrm.cache import persists
from tests.servers import PrivateValkey


@pytest.fixture
def server(valkey_server: Callable[..., PrivateValkey]) -> PrivateValkey:
    return valkey_server()


@pytest.fixture
def client(server: PrivateValkey) -> redis.Redis:
    return redis.Redis.from_url(server.url)


def test_a_cache_that_forgets_is_well(client: redis.Redis) -> None:
    assert persists(client) is None


@pytest.mark.parametrize("decodes", [True, False])
def test_every_complaint(server: PrivateValkey, decodes: bool) -> None:
    client = redis.Redis.from_url(server.url, decode_responses=decodes)
    client.config_set("save", "900 1")
    assert persists(client) == 'it writes snapshots ("900 1") and comes back with old values (set save "").'
    client.config_set("appendonly", "yes")
    client.config_set("save", "")
    assert persists(client) == "it keeps a log and comes back with old values (set appendonly no)."
    client.config_set("appendonly", "no")
    client.config_set("maxmemory-policy", "noeviction")
    assert persists(client) == "when it is full it does not make room (noeviction; set maxmemory-policy allkeys-lru)."
    client.config_set("maxmemory-policy", "volatile-lru")
    client.config_set("save", "60 10000")
    assert persists(client) == (
        'it writes snapshots ("60 10000") and comes back with old values (set save ""); '
        "when it is full it does not make room (volatile-lru; set maxmemory-policy allkeys-lru)."
    )


def test_the_broker_is_no_cache(valkey_server: Callable[..., PrivateValkey]) -> None:
    complaint = persists(redis.Redis.from_url(valkey_server(keeps=True).url))
    assert complaint is not None
    assert "it keeps a log" in complaint
    assert "noeviction" in complaint


def test_a_replica_is_no_cache(client: redis.Redis) -> None:
    client.execute_command("REPLICAOF", "127.0.0.1", "1")
    assert persists(client) == ("it is a replica: a write elsewhere reaches it late (point REDIS_URL at the primary).")


def test_where_config_is_forbidden_it_says_what_it_cannot_know(server: PrivateValkey, client: redis.Redis) -> None:
    client.execute_command("ACL", "SETUSER", "managed", "on", ">managed", "~*", "+@all", "-config")
    managed = redis.Redis.from_url(f"redis://managed:managed@127.0.0.1:{server.port}/0")
    assert persists(managed) == (
        "unknown whether it writes snapshots, CONFIG is forbidden (make sure that save is empty)."
    )
    client.config_set("appendonly", "yes")
    client.config_set("maxmemory-policy", "noeviction")
    assert persists(managed) == (
        "it keeps a log and comes back with old values (set appendonly no); "
        "when it is full it does not make room (noeviction; set maxmemory-policy allkeys-lru); "
        "unknown whether it writes snapshots, CONFIG is forbidden (make sure that save is empty)."
    )
    client.config_set("appendonly", "no")  # a server that still rewrites its log takes seconds to stop


def test_a_server_that_is_down_is_the_callers_to_report(server: PrivateValkey, client: redis.Redis) -> None:
    server.stop()
    with pytest.raises(redis.ConnectionError):
        persists(client)
