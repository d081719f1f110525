"""The push engine: sends callbacks as WeCom does, and as a bad day does.

A push is signed and encrypted for the receiver, has 5 s, and is sent again after anything but 200, three times; then it
is dropped and recorded as failed. Pushes of one object (customer, group, member, tag library) go out one after the
other, others beside them. Each is recorded with its XML, its attempts and what came of it.

    outcome        waiting | delivered | failed | dropped (by the switch) | no_receiver (no callback URL set)

Settings, all of which control may change:

    url token aes_key receiveid        where to, and under which pair
    contacts_token contacts_aes_key    another pair for change_contact, as the contacts sync app has
    retries retry_seconds timeout_seconds
    duplicate reorder drop             0..1: of the pushes, how many are sent twice, held back reorder_seconds, or lost
    delay_seconds reorder_seconds
    tampered_signature wrong_receiveid oversized entity_bomb inner_entity_bomb
                                       the next n attempts are spoiled so; what is sent again is in order
"""

import heapq
import itertools
import secrets
import threading
import time
import zlib
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import urlencode

import httpx

from wxwork.simulator import crypto
from wxwork.simulator.callback_xml import message_xml

WORKERS = 8
KEPT = 50_000
OVERSIZED_BYTES = 1_048_576
SPOILS = ("tampered_signature", "wrong_receiveid", "oversized", "entity_bomb", "inner_entity_bomb")
DOCTYPE = (
    '<!DOCTYPE xml [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {new} "{f"&{old};" * 10}">' for old, new in itertools.pairwise("abcdefghi"))
    + "]>"
)


@dataclass
class PushSettings:
    url: str = ""
    token: str = ""
    aes_key: str = ""
    receiveid: str = ""
    contacts_token: str = ""
    contacts_aes_key: str = ""
    agentid: int = 1000025
    retries: int = 3
    retry_seconds: float = 1.0
    timeout_seconds: float = 5.0
    duplicate: float = 0.0
    reorder: float = 0.0
    drop: float = 0.0
    delay_seconds: float = 0.0
    reorder_seconds: float = 0.5
    tampered_signature: int = 0
    wrong_receiveid: int = 0
    oversized: int = 0
    entity_bomb: int = 0
    inner_entity_bomb: int = 0


@dataclass
class Push:
    """One callback on its way. attempts: {"at", "seconds", "status" or "error", "spoiled"}."""

    id: int
    event: str
    change_type: str
    key: str
    xml: str
    outcome: str = "waiting"
    attempts: list[dict[str, Any]] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(order=True)
class Delivery:
    """A push that is due: the first of its attempts, or a repeat. worker: in whose queue it stands."""

    due: float
    order: int
    push: Push = field(compare=False)
    worker: int = field(compare=False)
    tries: int = field(default=0, compare=False)


class Pushes:
    """Queue, workers and record. Threads start with the first push that has a receiver."""

    def __init__(self, corp_id: str, settings: PushSettings, seed: int) -> None:
        self.corp_id = corp_id
        self.settings = settings
        self._random = Random(f"{seed}/pushes")
        self._ids = itertools.count(1)
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._queues: list[list[Delivery]] = [[] for _ in range(WORKERS)]
        self._threads: list[threading.Thread] = []
        self._unfinished = 0
        self._stops = False
        self.outcomes: Counter[str] = Counter()
        self.record: deque[Push] = deque(maxlen=KEPT)

    # --------------------------------------------------------------------------------------------------------- sending
    def send(self, event: str, change_type: str, fields: Mapping[str, Any], create_time: int) -> Push:
        """Queue a callback, at once or as the switches say."""
        key = next((str(fields[n]) for n in ("ExternalUserID", "ChatId", "UserID") if fields.get(n)), event)
        push = Push(
            next(self._ids),
            event,
            change_type,
            key,
            message_xml(self.corp_id, create_time, event, change_type, fields),
        )
        with self._changed:
            self.record.append(push)
            if not self.settings.url:
                self._finish(push, "no_receiver")
            elif self._random.random() < self.settings.drop:
                self._finish(push, "dropped")
            else:
                worker = zlib.crc32(push.key.encode()) % WORKERS
                self._begin(push, self._first_wait(), worker)
                # The second one comes by another worker, so that both may arrive at once.
                if self._random.random() < self.settings.duplicate:
                    self._begin(push, self._first_wait(), (worker + 1) % WORKERS)
        return push

    def _begin(self, push: Push, wait_seconds: float, worker: int) -> None:
        self._unfinished += 1
        self._enqueue(Delivery(0.0, 0, push, worker), wait_seconds)

    def again(self, number: int) -> bool:
        """Queue a recorded push once more. Returns whether there is one, and a receiver."""
        with self._changed:
            push = next((push for push in self.record if push.id == number), None)
            if push is None or not self.settings.url:
                return False
            self._begin(push, 0.0, zlib.crc32(push.key.encode()) % WORKERS)
        return True

    def _first_wait(self) -> float:
        late = self.settings.reorder_seconds if self._random.random() < self.settings.reorder else 0.0
        return self.settings.delay_seconds + late

    def _enqueue(self, delivery: Delivery, wait_seconds: float) -> None:
        delivery.due, delivery.order = time.monotonic() + wait_seconds, next(self._order)
        heapq.heappush(self._queues[delivery.worker], delivery)
        if not self._threads:
            for number in range(WORKERS):
                thread = threading.Thread(target=self._work, args=(number,), name=f"push-{number}", daemon=True)
                self._threads.append(thread)
                thread.start()
        self._changed.notify_all()

    def _finish(self, push: Push, outcome: str) -> None:
        if push.outcome != "delivered":
            push.outcome = outcome
        self.outcomes[outcome] += 1
        self._changed.notify_all()

    # --------------------------------------------------------------------------------------------------------- workers
    def _work(self, number: int) -> None:
        with httpx.Client(trust_env=False) as client:  # no proxy stands between us and a receiver
            while (delivery := self._next(self._queues[number])) is not None:
                self._settle(delivery, self._attempt(client, delivery.push))

    def _next(self, queue: list[Delivery]) -> Delivery | None:
        with self._changed:
            while not self._stops:
                wait = queue[0].due - time.monotonic() if queue else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(queue)
                self._changed.wait(wait)
        return None

    def _settle(self, delivery: Delivery, attempt: dict[str, Any]) -> None:
        with self._changed:
            delivery.tries += 1
            delivery.push.attempts.append(attempt)
            if attempt.get("status") == 200:
                outcome = "delivered"
            elif delivery.tries <= self.settings.retries:
                self._enqueue(delivery, self.settings.retry_seconds)
                return
            else:
                outcome = "failed"
            self._unfinished -= 1
            self._finish(delivery.push, outcome)

    def _attempt(self, client: httpx.Client, push: Push) -> dict[str, Any]:
        spoiled = self._take_spoil()
        url, body = self._sealed(push, spoiled)
        said: dict[str, Any] = {"at": time.time(), "spoiled": spoiled}
        began = time.perf_counter()
        try:
            answer = client.post(
                url, content=body, headers={"Content-Type": "text/xml"}, timeout=self.settings.timeout_seconds
            )
            said["status"] = answer.status_code
        except httpx.HTTPError as error:
            said["error"] = type(error).__name__
        said["seconds"] = time.perf_counter() - began
        return said

    def _take_spoil(self) -> str:
        with self._changed:
            for name in SPOILS:
                if left := getattr(self.settings, name):
                    setattr(self.settings, name, left - 1)
                    return name
        return ""

    def _pair(self, push: Push) -> tuple[str, str]:
        if push.event == "change_contact" and self.settings.contacts_token:
            return self.settings.contacts_token, self.settings.contacts_aes_key
        return self.settings.token, self.settings.aes_key

    def _sealed(self, push: Push, spoiled: str) -> tuple[str, bytes]:
        """Return URL and body of one attempt: fresh random prefix, nonce and time; the same XML."""
        token, aes_key = self._pair(push)
        receiveid = "wwsomebodyelse" if spoiled == "wrong_receiveid" else self.settings.receiveid or self.corp_id
        xml = push.xml
        if spoiled == "inner_entity_bomb":
            xml = DOCTYPE + xml.replace("</xml>", "<Bomb>&i;</Bomb></xml>")
        if spoiled == "oversized":
            xml = xml.replace("</xml>", f"<Padding>{'x' * OVERSIZED_BYTES}</Padding></xml>")
        encrypted = crypto.encrypt(xml.encode(), aes_key, receiveid)
        timestamp, nonce = str(int(time.time())), str(secrets.randbelow(10**10))
        signature = crypto.sign(token, timestamp, nonce, encrypted)
        if spoiled == "tampered_signature":
            signature = signature[:-1] + ("0" if signature[-1] != "0" else "1")
        agentid = "" if push.event == "change_contact" else f"<AgentID><![CDATA[{self.settings.agentid}]]></AgentID>"
        body = (
            f"<xml><ToUserName><![CDATA[{self.corp_id}]]></ToUserName>{agentid}"
            f"<Encrypt><![CDATA[{encrypted}]]></Encrypt></xml>"
        )
        if spoiled == "entity_bomb":
            body = DOCTYPE + body.replace("</xml>", "<Bomb>&i;</Bomb></xml>")
        return f"{self.settings.url}?{self._query(signature, timestamp, nonce)}", body.encode()

    @staticmethod
    def _query(signature: str, timestamp: str, nonce: str, **more: str) -> str:
        return urlencode({"msg_signature": signature, "timestamp": timestamp, "nonce": nonce, **more})

    # ---------------------------------------------------------------------------------------------------- verification
    def verify_url(self) -> dict[str, Any]:
        """Verify the callback URL by GET as the console does: within 1 s, the plaintext and nothing else."""
        plain = str(secrets.randbelow(10**19))
        encrypted = crypto.encrypt(plain.encode(), self.settings.aes_key, self.settings.receiveid or self.corp_id)
        timestamp, nonce = str(int(time.time())), str(secrets.randbelow(10**10))
        signature = crypto.sign(self.settings.token, timestamp, nonce, encrypted)
        url = f"{self.settings.url}?{self._query(signature, timestamp, nonce, echostr=encrypted)}"
        try:
            answer = httpx.get(url, timeout=1.0, trust_env=False)
        except httpx.HTTPError as error:
            return {"verified": False, "error": type(error).__name__}
        return {"verified": answer.status_code == 200 and answer.text == plain, "status": answer.status_code}

    # --------------------------------------------------------------------------------------------------------- reading
    @property
    def waiting(self) -> int:
        """How many deliveries are not over."""
        return self._unfinished

    def wait_until_idle(self, seconds: float = 30.0) -> bool:
        """Return whether every push was delivered or given up within the time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._unfinished == 0, seconds)

    def rows(self, limit: int = 0) -> list[dict[str, Any]]:
        """Return the latest pushes, oldest first; all that are kept if limit is 0."""
        with self._changed:
            found = list(self.record)
        return [push.row() for push in found[-limit:]]

    def summary(self) -> dict[str, Any]:
        """Return counts by outcome, and how long the receiver took."""
        with self._changed:
            times = sorted(attempt["seconds"] for push in self.record for attempt in push.attempts)
            outcomes, waiting = dict(self.outcomes), self._unfinished
        return {
            "waiting": waiting,
            "outcomes": outcomes,
            "attempts": len(times),
            "seconds": {"p50": _at(times, 0.5), "p99": _at(times, 0.99), "max": _at(times, 1.0)},
        }

    def forget(self) -> None:
        """Forget what is recorded, and what still waits."""
        with self._changed:
            for queue in self._queues:
                self._unfinished -= len(queue)
                queue.clear()
            self.record.clear()
            self.outcomes.clear()
            self._changed.notify_all()

    def stop(self) -> None:
        with self._changed:
            self._stops = True
            self._changed.notify_all()
        deadline = time.monotonic() + self.settings.timeout_seconds + 1
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))


def _at(ordered: list[float], share: float) -> float:
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 6) if ordered else 0.0
