"""Tell the workers that there is work, without anybody waiting for the broker.

Whoever stores a callback only sets a flag; one thread of the process sends the messages, at most one of a kind every
few milliseconds, and none while enough of them lie in the broker already: a worker that is woken works until nothing is
due. What is not sent for any reason is not lost: the keeper looks at the rows (wxwork.chores).
"""

import os
import threading
import time
from functools import cache

import redis
import structlog
from celery import current_app
from django.conf import settings
from kombu.exceptions import OperationalError as BrokerError

logger = structlog.get_logger(__name__)

CALLBACKS, WELCOMES = "callbacks", "welcome"
# {queue: the task that works it off}
TASKS = {CALLBACKS: "wxwork.work_callbacks", WELCOMES: "wxwork.send_welcomes"}
# Without workers messages must not pile up. They do not expire instead: a worker whose clock is ahead would drop all.
ENOUGH = 8
PAUSE_SECONDS = 0.01
# A broker that does not answer is not asked again at once.
TROUBLE_SECONDS = 1.0


class Waker:
    """The thread that sends, and the flags it goes by. One per process; a fork gets a new thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told = threading.Condition(self._lock)
        self._wanted: set[str] = set()
        self._pid = 0

    def tell(self, queue: str) -> None:
        """Have the workers of a queue woken soon. Waits for nothing."""
        if self._pid != os.getpid():
            self._start()
        with self._told:
            self._wanted.add(queue)
            self._told.notify()

    def _start(self) -> None:
        with self._lock:
            if self._pid != os.getpid():
                self._pid = os.getpid()
                threading.Thread(target=self._send_for_ever, name="waker", daemon=True).start()

    def _send_for_ever(self) -> None:
        while True:
            with self._told:
                while not self._wanted:
                    self._told.wait()
                wanted, self._wanted = self._wanted, set()
            try:
                is_well = min(wake(queue) for queue in sorted(wanted))  # all of them, whatever the first says
            except Exception:
                logger.exception("waker_failed")  # it must not end: nobody would start another
                is_well = False
            time.sleep(PAUSE_SECONDS if is_well else TROUBLE_SECONDS)


def wake(queue: str, messages: int = 1) -> bool:
    """Send messages to the workers of a queue, unless enough of them wait there. Returns whether the broker answered.

    Waits for a broker that is down as long as scrm.celery says: a second or two.
    """
    try:
        for _ in range(min(messages, ENOUGH - _waiting(queue))):
            current_app.send_task(TASKS[queue], queue=queue, retry=False, ignore_result=True)
    except (BrokerError, redis.RedisError, OSError) as error:
        logger.warning("workers_not_woken", queue=queue, reason=type(error).__name__)
        return False
    return True


def _waiting(queue: str) -> int:
    """Return how many messages lie in a queue; none is known of for brokers other than Redis."""
    if not settings.CELERY_BROKER_URL.startswith("redis"):
        return 0
    return int(_client(settings.CELERY_BROKER_URL).llen(queue))


@cache
def _client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, retry=None, socket_timeout=1, socket_connect_timeout=1)


_waker = Waker()
tell = _waker.tell
