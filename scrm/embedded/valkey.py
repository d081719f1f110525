"""The embedded Valkeys: a cache that forgets and a broker that keeps."""

from scrm.embedded import programs
from scrm.embedded.place import Place
from scrm.embedded.servers import HOST, Server

SETTINGS = {
    "bind": HOST,
    "protected-mode": "yes",
    "databases": "128",  # a test worker takes one of its own
    "save": '""',
    # The command line stays as it was started: it says to whom the process belongs.
    "set-proc-title": "no",
}
# A cache that comes back with yesterday's snapshot would serve yesterday for a day.
CACHE = {"appendonly": "no", "maxmemory": "256mb", "maxmemory-policy": "allkeys-lru"}
# A task that was accepted is neither evicted nor lost with the process.
BROKER = {"appendonly": "yes", "appendfsync": "everysec", "maxmemory": "0", "maxmemory-policy": "noeviction"}


def cache(place: Place, *, port: int = 0) -> Server:
    """Return the Valkey that holds nothing but copies: no snapshot, no log, least recently used out first."""
    return _server(place, "cache", CACHE, port)


def broker(place: Place, *, port: int = 0) -> Server:
    """Return the Valkey that keeps what it was given."""
    return _server(place, "broker", BROKER, port)


def url(port: int, secret: str, database: int = 0) -> str:
    """Return the URL of one of its numbered databases."""
    return f"redis://default:{secret}@{HOST}:{port}/{database}"


def _server(place: Place, name: str, settings: dict[str, str], port: int) -> Server:
    folder = place.make_folder(place.data / name)
    # Any user of the machine can reach the port, and CONFIG SET writes files as us: so it wants a password too.
    lines = {**SETTINGS, **settings, "dir": f'"{folder}"', "requirepass": place.secret}
    configuration = place.write_private(
        place.data / f"{name}.conf", "".join(f"{key} {value}\n" for key, value in lines.items())
    )
    return Server(
        name=name,
        command=[str(programs.valkey_program(place)), str(configuration), "--port", "{port}"],
        log=str(place.folder / f"{name}.log"),
        secret=place.secret,
        port=port,
        uid=place.account.uid if place.account else None,
        gid=place.account.gid if place.account else None,
    )
