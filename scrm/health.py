"""Is this process alive, can it serve, and what has it counted: /healthz, /readyz, /metrics.

/readyz asks every server at the same time, each on a connection of its own, and waits three seconds at the longest:

    down                                answer
    nothing                             200 {"status": "ready", "down": [], "warnings": []}
    one department, cache, broker       200 {"status": "degraded", "down": ["dept_101"], …}
    control database, all departments   503 {"status": "unavailable", "down": ["default"], …}

A cache that persists is a warning: lookups might be as old as its last snapshot (docs/read-through.md).
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import redis
import structlog
from django.conf import settings
from django.db import DatabaseError, connections
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django_prometheus.exports import ExportToDjangoView
from prometheus_client import Gauge

from scrm.cache import persists
from scrm.sharding import HomeUnavailableError, shard_map

logger = structlog.get_logger(__name__)

WAIT_SECONDS = 3.0
REDIS_TIMEOUT_SECONDS = 1.0
UP = Gauge("scrm_server_up", "1 if the server answered the last /readyz.", ["server"], multiprocess_mode="mostrecent")


@dataclass
class Probe:
    """One question to one server, in a thread of its own. Answers with a warning, or None."""

    name: str
    ask: Callable[[], str | None]
    is_up: bool = False
    warning: str | None = None
    thread: threading.Thread | None = field(default=None, repr=False)

    def start(self) -> None:
        self.thread = threading.Thread(target=self._run, name=f"readyz-{self.name}", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.warning = self.ask()
            self.is_up = True
        except (DatabaseError, HomeUnavailableError, redis.RedisError, OSError) as error:
            logger.info("server_does_not_answer", server=self.name, reason=type(error).__name__)


_refreshers: dict[str, Callable[[], None]] = {}
_hanging: dict[str, threading.Thread] = {}
_lock = threading.Lock()


@never_cache
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """Say that this process answers. Asks nobody."""
    return HttpResponse("ok\n", content_type="text/plain")


@never_cache
@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """Say whether this process can serve, and name what is down."""
    probes = ask_all()
    down = [name for name, probe in probes.items() if not probe.is_up]
    departments = [shard_map().alias(home) for home in shard_map().homes]
    is_ready = "default" not in down and not all(name in down for name in departments)
    status = "unavailable" if not is_ready else "degraded" if down else "ready"
    warnings = [f"{name}: {probe.warning}" for name, probe in probes.items() if probe.warning]
    body = {"status": status, "down": down, "warnings": warnings}
    return JsonResponse(body, status=200 if is_ready else 503)


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Give what all workers of this server have counted, for Prometheus. Keep it from the outside (docs/running.md)."""
    for name, refresh in _refreshers.items():
        try:
            refresh()
        except Exception as error:  # what one app cannot say now must not hide the rest
            logger.warning("metrics_not_refreshed", name=name, reason=type(error).__name__)
    return ExportToDjangoView(request)


def refresh_for_metrics(name: str, refresh: Callable[[], None]) -> None:
    """Have gauges brought up to date before each /metrics; an app calls this in AppConfig.ready()."""
    _refreshers[name] = refresh


def ask_all() -> dict[str, Probe]:
    """Ask every server at the same time. Returns {name: probe}, within WAIT_SECONDS."""
    probes = {name: Probe(name, ask) for name, ask in _questions().items()}
    with _lock:
        # A server that froze in the middle of an answer holds a thread: one, not one more for each /readyz.
        for name, probe in probes.items():
            if name not in _hanging or not _hanging[name].is_alive():
                probe.start()
    deadline = time.monotonic() + WAIT_SECONDS
    for name, probe in probes.items():
        if probe.thread is not None:
            probe.thread.join(max(0.0, deadline - time.monotonic()))
            with _lock:
                _hanging[name] = probe.thread
        UP.labels(name).set(probe.is_up)
    return probes


def _questions() -> dict[str, Callable[[], str | None]]:
    questions: dict[str, Callable[[], str | None]] = {alias: _of_database(alias) for alias in connections}
    questions["cache"] = _ask_cache
    if settings.CELERY_BROKER_URL.startswith("redis"):
        questions["broker"] = _ask_broker
    return questions


def _of_database(alias: str) -> Callable[[], str | None]:
    def ask() -> None:
        try:
            with connections[alias].cursor() as cursor:
                cursor.execute("SELECT 1")
        finally:
            connections[alias].close()

    return ask


def _ask_cache() -> str | None:
    with _redis(settings.REDIS_URL) as client:
        return persists(client)


def _ask_broker() -> None:
    with _redis(settings.CELERY_BROKER_URL) as client:
        client.ping()


def _redis(url: str) -> redis.Redis:
    return redis.Redis.from_url(
        url, retry=None, socket_timeout=REDIS_TIMEOUT_SECONDS, socket_connect_timeout=REDIS_TIMEOUT_SECONDS
    )
