"""A burst of callbacks on the product's own processes, with workers killed and a department database stopped.

    simulator ──callbacks──► granian (2 workers) ──rows──► control database ◄──claims── 2 Celery workers, 1 keeper
        ▲                                                                                  │
        └──────────────────────────── every handler re-reads ──────────────────────────────┘

What is true in the simulator at the end must be what the databases say: `disagreements` compares them one relation
after the other, by external_userid and userid.
"""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from django.db import connections

from scrm.demo.processes import Processes, free_port

TOKEN = "burstToken2026"
AES_KEY = "kQ3vXz8NfT1mWb5RyU7hJc2LgP9sAdE4iOoKxV6uYBw"
MANAGE = [sys.executable, "manage.py"]
CELERY = ["nice", "-n", "5", sys.executable, "-m", "celery", "-A", "scrm", "worker"]
CELERY += ["--loglevel", "WARNING", "--concurrency", "2"]
READY_SECONDS = 60
DRAIN_SECONDS = 300


@dataclass(frozen=True)
class Burst:
    """callbacks are spread over `seconds`; kills and the stop of a department fall within them."""

    callbacks: int = 5_000
    seconds: int = 60
    customers: int = 3_000
    duplicate: float = 0.10
    reorder: float = 0.05
    kills: int = 2
    department_down_seconds: float = 20.0
    seed: int = 20_260_101


@dataclass
class Outcome:
    """What came of a burst. seconds: how long the receiver took, by quantile, as the simulator saw it."""

    pushes: dict[str, Any]
    drained_after_seconds: float
    states: dict[str, int]
    disagreements: list[str]
    counts: Counter[str] = field(default_factory=Counter)


def environ_of(environ: Mapping[str, str], simulator_port: int, web_port: int) -> dict[str, str]:
    """Return the environment of all processes of a burst."""
    return {
        **environ,
        "DJANGO_SETTINGS_MODULE": "scrm.settings",
        "DEBUG": "1",
        "LOG_LEVEL": "WARNING",
        "PORT": str(web_port),
        "WXWORK_BASE_URL": f"http://127.0.0.1:{simulator_port}",
        "WXWORK_CORP_ID": "wwsimulator",
        "WXWORK_AGENT_ID": "1000025",
        "WXWORK_SECRET": "simulator-secret",
        "WXWORK_CONTACTS_SECRET": "simulator-secret",
        "WXWORK_CALLBACK_TOKEN": TOKEN,
        "WXWORK_CALLBACK_AES_KEY": AES_KEY,
        "WXWORK_SIMULATOR_CALLBACK_URL": f"http://127.0.0.1:{web_port}/wxwork/callback",
    }


def run(burst: Burst, environ: Mapping[str, str], logs: Path, stop: Callable[[], None], start: Callable[[], None]):  # type: ignore[no-untyped-def]
    """Run a burst and return its Outcome. stop, start: of the department database that goes away meanwhile."""
    simulator_port, web_port = free_port(0), free_port(0)
    environ = environ_of(environ, simulator_port, web_port)
    with ExitStack() as stack:
        processes = Processes(logs, environ)
        stack.callback(processes.stop)
        processes.start(
            "simulator",
            [*MANAGE, "wxwork_simulator", "--port", str(simulator_port), "--customers", str(burst.customers),
             "--seed", str(burst.seed)],
        )  # fmt: skip
        sim = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{simulator_port}/_sim", timeout=60))
        _wait_for(lambda: sim.get("/state").status_code == 200, "the simulator")
        # Who had removed staff before we came: WeCom's API shows them as friends, and no callback tells of it any more.
        unshown = {(one["external_userid"], one["userid"]): one["lost_at"] for one in relations(sim) if one["lost_at"]}
        subprocess.run([*MANAGE, "sync_wxwork", "--full"], env=dict(environ), check=True, stdout=subprocess.DEVNULL)
        workers = [f"worker-{number}" for number in (1, 2)]
        processes.start(
            "web",
            [sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(web_port),
             "--workers", "2", "--blocking-threads", "4", "--no-access-log", "scrm.wsgi:application"],
        )  # fmt: skip
        processes.start("keeper", [*MANAGE, "keeper"])
        for name in workers:
            processes.start(name, CELERY)
        with httpx.Client(timeout=5) as probe:
            _wait_for(lambda: probe.get(f"http://127.0.0.1:{web_port}/healthz").status_code == 200, "the web process")
        _act(sim, "set_pushes", duplicate=burst.duplicate, reorder=burst.reorder)
        _make_things_happen(burst, sim, processes, workers, stop, start)
        began = time.monotonic()
        _wait_for(lambda: sim.get("/pushes?limit=1").json()["waiting"] == 0, "the last push", DRAIN_SECONDS)
        _wait_for(lambda: (processes.restart_ended(), not pending())[1], "the inbox", DRAIN_SECONDS)
        drained = time.monotonic() - began
        pushes = sim.get("/pushes?limit=1").json()
        truth = [
            one | ({"status": "full"} if unshown.get((one["external_userid"], one["userid"])) == one["lost_at"] else {})
            if one["lost_at"]
            else one
            for one in relations(sim)
        ]
        connections.close_all()  # the one to the department that was stopped is dead
        return Outcome(pushes, drained, states(), disagreements(truth), Counter(one["status"] for one in truth))


def _make_things_happen(
    burst: Burst, sim: httpx.Client, processes: Processes, workers: list[str], stop: Callable[[], None],
    start: Callable[[], None],
) -> None:  # fmt: skip
    """Have the simulator's people do things, evenly over the seconds, and break what is to be broken meanwhile."""
    per_second = burst.callbacks / burst.seconds
    kills = [burst.seconds * (number + 1) / (burst.kills + 1) for number in range(burst.kills)]
    down_at = burst.seconds / 4
    up_at = down_at + burst.department_down_seconds if burst.department_down_seconds else None
    began, done, is_down = time.monotonic(), 0, False
    while done < burst.callbacks:
        now = time.monotonic() - began
        if up_at is not None and not is_down and down_at <= now < up_at:
            stop()
            is_down = True
        if is_down and up_at is not None and now >= up_at:
            start()
            is_down = False
        if kills and now >= kills[0]:
            kills.pop(0)
            processes.kill(workers[len(kills) % len(workers)])
        processes.restart_ended(at_once=True)
        wanted = min(burst.callbacks, int(per_second * (now + 1)))
        if wanted > done:
            _act(sim, "bulk", n=wanted - done, seed=burst.seed + done)
            done = wanted
        time.sleep(0.25)
    if is_down and up_at is not None:
        time.sleep(max(0.0, up_at - (time.monotonic() - began)))
        start()


def _act(sim: httpx.Client, act: str, **arguments: Any) -> dict[str, Any]:
    answer = sim.post("/act", json={"act": act, **arguments})
    if answer.status_code != 200:
        raise RuntimeError(f"{act}: {answer.text}")
    return dict(answer.json())


def _wait_for(is_so: Callable[[], bool], what: str, seconds: float = READY_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if is_so():
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise TimeoutError(f"Waited {seconds:.0f} s for {what}.")


# ---------------------------------------------------------------------------------------------------------- agreement
def relations(sim: httpx.Client) -> Iterator[dict[str, Any]]:
    """Yield what is true of every relation in the simulator."""
    after = 0
    while True:
        page = sim.get("/relations", params={"after": after, "limit": 5_000}).json()
        yield from page["relations"]
        after = page["next"]
        if not after:
            return


def pending() -> int:
    """Return how many callbacks are not over."""
    from wxwork.models import Callback

    return Callback.objects.filter(state=Callback.State.PENDING).count()


def states() -> dict[str, int]:
    """Return how many callbacks are in which state."""
    from wxwork.models import Callback

    return dict(Counter(Callback.objects.values_list("state", flat=True)))


def stored() -> dict[tuple[str, str], dict[str, Any]]:
    """Return {(external_userid, userid): follow with its customer's fields} of all department databases."""
    from customers.models import Customer, Follow
    from scrm import sharding

    found: dict[tuple[str, str], dict[str, Any]] = {}
    for home in sharding.shard_map().homes:
        alias = sharding.alias(home)
        people = {
            row["customer_id"]: row
            for row in Customer.objects.using(alias).values("customer_id", "external_userid", "name", "type", "gender")
        }
        for follow in Follow.objects.using(alias).values():
            person = people[follow["customer_id"]]
            found[person["external_userid"], follow["userid"]] = {**person, **follow}
    return found


def disagreements(truth: list[dict[str, Any]]) -> list[str]:
    """Return in words where the databases say something else than the simulator."""
    there = stored()
    said: list[str] = []
    for one in truth:
        follow = there.pop((one["external_userid"], one["userid"]), None)
        where = f"{one['external_userid']} of {one['userid']} ({one['status']})"
        if one["status"] == "half":
            continue  # WeCom does not show it yet
        if follow is None:
            said.append(f"{where}: not there")
            continue
        if (follow["lost_at"] is not None) != (one["status"] == "deleted_by_customer"):
            said.append(f"{where}: lost_at is {follow['lost_at']}")
        said += [
            f"{where}: {name} is {given!r}, not {wanted!r}"
            for name, given, wanted in (
                ("name", follow["name"], one["name"]),
                ("gender", follow["gender"], one["gender"]),
                ("remark", follow["remark"], one["remark"]),
                ("description", follow["description"], one["description"]),
                ("mobiles", follow["mobiles"], one["mobiles"]),
                ("tags", sorted(follow["tag_ids"]), sorted(one["tag_ids"])),
                ("state", follow["state"], one["state"]),
                ("add_way", follow["add_way"], one["add_way"]),
                ("created_at", follow["created_at"], datetime.fromtimestamp(one["createtime"], UTC)),
            )
            if given != wanted
        ]
    # What staff have deleted is gone from WeCom, and stays here as lost.
    return said + [
        f"{external_userid} of {userid}: not in WeCom, and not lost"
        for (external_userid, userid), follow in there.items()
        if follow["lost_at"] is None
    ]
