"""Say whether a Redis is fit to be the cache: one that comes back with yesterday's values serves them for a day."""

import redis

UNKNOWN = "unknown"


def persists(client: redis.Redis) -> str | None:
    """Return in words what makes a server unfit to be the cache, or None if nothing does.

    Begins with "unknown" where the server will not tell (managed ones often forbid CONFIG).
    Raises redis.RedisError when it does not answer. Cost: two commands.
    """
    found = _complaints(client)
    return "; ".join(found) + "." if found else None


def _complaints(client: redis.Redis) -> list[str]:
    info = client.info()
    found = []
    if info.get("role") == "slave":
        found.append("it is a replica: a write elsewhere reaches it late (point REDIS_URL at the primary)")
    try:
        configured = {name: client.config_get(name).get(name) for name in ("save", "appendonly", "maxmemory-policy")}
    except redis.ResponseError:
        configured = {"appendonly": "yes" if info.get("aof_enabled") else "no", "save": UNKNOWN}
        configured["maxmemory-policy"] = info.get("maxmemory_policy")
    if configured["appendonly"] == "yes":
        found.append("it keeps a log and comes back with old values (set appendonly no)")
    if configured["save"] == UNKNOWN:
        found.append(f"{UNKNOWN} whether it writes snapshots, CONFIG is forbidden (make sure that save is empty)")
    elif configured["save"]:
        found.append(f'it writes snapshots ("{configured["save"]}") and comes back with old values (set save "")')
    policy = configured["maxmemory-policy"]
    if not policy:
        found.append(f"{UNKNOWN} what it does when it is full (make sure that maxmemory-policy is allkeys-lru)")
    elif not str(policy).startswith("allkeys-"):
        found.append(f"when it is full it does not make room ({policy}; set maxmemory-policy allkeys-lru)")
    return sorted(found, key=lambda complaint: complaint.startswith(UNKNOWN))
