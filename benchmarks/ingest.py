"""Behaviours over HTTP in batches of 500 against COPY of the same rows into the raw table."""

import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from django.core.management import call_command
from django.db import connections
from django.utils import timezone

from benchmarks import data
from benchmarks.ground import Results, timed
from benchmarks.lookups import fresh_key, web
from customers.directory import addresses, upsert_many
from customers.records import CustomerData
from scrm import sharding

PEOPLE, ROWS, BATCH, CLIENTS = 5_000, 100_000, 500, 2


def measure(results: Results, _customers: int) -> None:
    """Measure 100 000 behaviours of 5 000 customers, each way into empty tables."""
    call_command("migrate_shards", verbosity=0)
    data.empty()
    people = [f"wmINGEST{n:05}" for n in range(PEOPLE)]
    upsert_many([CustomerData(person) for person in people])
    now = timezone.now()
    items = [_item(n, people[n * 7 % PEOPLE], now) for n in range(ROWS)]
    over_http = _post(items)
    data.empty_behaviours()
    copied = _copy(items, addresses(people), now)
    ratio = copied / over_http
    results.add(
        f"behaviours over HTTP in batches of {BATCH}", "COPY of the same rows into the raw table", f"{ratio:.2f} ×",
        "≥ 0.05 ×", holds=ratio >= 0.05,
        detail=f"{ROWS / over_http:,.0f} rows/s, {CLIENTS} clients, against {ROWS / copied:,.0f} rows/s by two COPYs",
    )  # fmt: skip


def _item(number: int, person: str, now: datetime) -> dict[str, str]:
    is_purchase = number % 3 == 0
    return {
        "event_id": f"bench-{number}",
        "external_userid": person,
        "kind": "purchase" if is_purchase else "interaction",
        "channel": "store",
        "amount": "19.90" if is_purchase else "0",
        "occurred_at": (now - timedelta(minutes=number % 400_000)).isoformat(),
    }


def _post(items: list[dict[str, str]]) -> float:
    bodies = [json.dumps({"behaviors": items[at : at + BATCH]}).encode() for at in range(0, ROWS, BATCH)]
    headers = {"Authorization": f"Bearer {fresh_key()}", "Content-Type": "application/json"}

    with web() as base:

        def client(share: list[bytes]) -> int:
            connection = http.client.HTTPConnection(urlsplit(base).netloc)
            accepted = 0
            for body in share:
                connection.request("POST", "/api/v1/behaviors/", body, headers)
                answer = connection.getresponse()
                text = answer.read()
                if answer.status != 200:
                    raise RuntimeError(text.decode())
                accepted += json.loads(text)["accepted"]
            return accepted

        with ThreadPoolExecutor(CLIENTS) as pool:
            began = time.perf_counter()
            accepted = sum(pool.map(client, [bodies[n::CLIENTS] for n in range(CLIENTS)]))
            seconds = time.perf_counter() - began
    if accepted != ROWS:
        raise RuntimeError(f"{accepted} of {ROWS} were accepted")
    return seconds


def _copy(items: list[dict[str, str]], where: dict[str, int], now: datetime) -> float:
    rows: dict[int, list[tuple[object, ...]]] = {}
    for item in items:
        customer_id = where[item["external_userid"]]
        rows.setdefault(sharding.home_of(customer_id), []).append(
            (customer_id, customer_id % 10, "copy", item["event_id"], item["kind"], item["channel"], item["amount"],
             item["occurred_at"], False, now)
        )  # fmt: skip

    def copy(home: int) -> None:
        try:
            with (
                sharding.atomic_home(home),
                sharding.cursor(home) as cursor,
                cursor.copy(
                    "COPY behaviours (customer_id, bucket, source, event_id, kind, channel, amount, occurred_at, "
                    "undoes_purchase, received_at) FROM STDIN"
                ) as target,
            ):
                for row in rows[home]:
                    target.write_row(row)
        finally:
            connections[sharding.alias(home)].close()

    def copy_all() -> None:
        with ThreadPoolExecutor(len(rows)) as pool:
            list(pool.map(copy, rows))

    return timed(copy_all)
