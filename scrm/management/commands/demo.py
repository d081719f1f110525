"""`manage.py demo`, which is what `make demo` runs: everything from nothing, then served until Ctrl-C."""

import fcntl
import logging
import os
import signal
import sys
import time
from argparse import ArgumentParser
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management import BaseCommand, CommandError, call_command
from django.utils import timezone
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from customers.models import DirectoryEntry
from profiles.models import ProfileRun
from profiles.runs import run_all, start_run
from scrm.demo import seeding, serving
from scrm.demo.company import Company
from scrm.demo.processes import Processes, free_port
from wxwork.simulator.company import STAFF
from wxwork.simulator.corp import CORP_ID, SECRET
from wxwork.simulator.state import OWN_APP

LOCAL = Path(os.environ.get("SCRM_LOCAL_DIR") or settings.BASE_DIR / ".local")
MANAGE = [sys.executable, str(settings.BASE_DIR / "manage.py")]
SEED = 20_260_101
ARRIVALS_SECONDS = 20
READY_SECONDS = 60
# One: each costs a run of everybody's, and a trend needs two days.
PAST_DAYS = (7,)


class Command(BaseCommand):
    help = "Fill an empty system with a sample company, classify it, and serve it until Ctrl-C."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--customers", type=int, default=3_000, help="how many customers the sample company has")
        parser.add_argument("--port", type=int, default=settings.PORT, help="preferred; a free one if it is taken")

    def handle(self, *args: Any, **options: Any) -> None:
        console = Console(stderr=False, highlight=False)
        if not settings.DEBUG:
            raise CommandError("The demo is for machines of one's own: it does not run with DEBUG off.")
        LOCAL.mkdir(parents=True, exist_ok=True)
        # Both, because a shell that starts us in the background has SIGINT ignored.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _interrupt)
        with (LOCAL / "demo.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CommandError(f"The demo already runs in this folder; see {LOCAL / 'demo.env'}.") from None
            # The bars say how it goes; the processes' own logs go to files.
            logging.getLogger().setLevel(logging.WARNING)
            values = self._values(options["port"])
            processes = Processes(LOCAL / "logs", {**os.environ, **values, "DEBUG": "1"})
            try:
                self._prepare(console, processes, options["customers"])
                self._serve(console, processes, values)
            except TimeoutError as error:
                raise CommandError(f"{error} {LOCAL / 'logs'}") from error
            except KeyboardInterrupt:
                console.print("\n正在停止……")
            finally:
                processes.stop()

    def _values(self, preferred_port: int) -> dict[str, str]:
        """Return the environment of all processes, which demo.env tells of too: secrets stay from start to start."""
        before = serving.read_env(LOCAL / "demo.env")
        port = free_port(preferred_port)
        base_url = f"http://127.0.0.1:{port}"
        servers = ("DATABASE_URL", "DEPARTMENT_DATABASES", "REDIS_URL", "CELERY_BROKER_URL")
        return {name: os.environ.get(name, "") for name in servers} | {
            "PORT": str(port),
            "BASE_URL": base_url,
            "ADMIN_USERNAME": "admin",
            "ADMIN_PASSWORD": before.get("ADMIN_PASSWORD") or serving.new_password(),
            "API_KEY": before.get("API_KEY", ""),
            "WXWORK_BASE_URL": f"http://127.0.0.1:{free_port(port + 1)}",
            "WXWORK_CORP_ID": CORP_ID,
            "WXWORK_AGENT_ID": str(OWN_APP),
            "WXWORK_SECRET": SECRET,
            "WXWORK_CONTACTS_SECRET": SECRET,
            "WXWORK_CALLBACK_TOKEN": before.get("WXWORK_CALLBACK_TOKEN") or serving.new_word(32),
            "WXWORK_CALLBACK_AES_KEY": before.get("WXWORK_CALLBACK_AES_KEY") or serving.new_word(43),
            "WXWORK_SIMULATOR_CALLBACK_URL": f"{base_url}/wxwork/callback",
        }

    def _prepare(self, console: Console, processes: Processes, customers: int) -> None:
        call_command("migrate_shards")
        # The same company every time: its days end on the day it was first made.
        made_on = LOCAL / "demo-company"
        is_made = made_on.exists() and DirectoryEntry.objects.count() >= customers
        now = datetime.fromisoformat(made_on.read_text()) if is_made else timezone.localtime()
        wecom = processes.environ["WXWORK_BASE_URL"]
        processes.start("wecom", simulator_command(wecom, customers, now))
        serving.wait_until_ready(f"{wecom}/_sim/state", seconds=READY_SECONDS)
        if not is_made:
            self._seed(console, processes, Company(SEED, now, customers))
            seeding.seed_segments()
            made_on.write_text(now.isoformat())
            self._run_past_days(console)
        if not ProfileRun.objects.filter(as_of=timezone.localdate(), state=ProfileRun.State.DONE).exists():
            call_command("classify_profiles")

    def _run_past_days(self, console: Console) -> None:
        """Run as of some days of the last month, so that the home page has trends to show from the first day on."""
        today = timezone.localdate()
        days = [today - timedelta(days=ago) for ago in PAST_DAYS]
        console.print(f"示例公司 · 补算 {days[0]} 起 {len(days)} 天的画像")
        for day in days:
            run_all(start_run(ProfileRun.Kind.MANUAL, day, requested_by="demo"))

    def _seed(self, console: Console, processes: Processes, company: Company) -> None:
        processes.run([*MANAGE, "sync_wxwork", "--full"], LOG_LEVEL="WARNING")
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console) as progress:
            people = progress.add_task("示例公司 · 会员资料", total=company.customers)
            seeding.seed_own_fields(company, lambda n: progress.advance(people, n))
            seeding.seed_member_numbers(company)
            behaviours = progress.add_task("示例公司 · 行为", total=sum(1 for _ in company.behaviours()))
            seeding.seed_behaviours(company, lambda n: progress.advance(behaviours, n))

    def _serve(self, console: Console, processes: Processes, values: dict[str, str]) -> None:
        seeding.ensure_login(values["ADMIN_USERNAME"], values["ADMIN_PASSWORD"])
        values["API_KEY"] = seeding.ensure_api_key("demo", values["API_KEY"])
        # The web process first: the others would only make it wait for a processor.
        web, *others = commands(int(values["PORT"])).items()
        processes.start(*web)
        serving.wait_until_ready(f"{values['BASE_URL']}/readyz", seconds=READY_SECONDS)
        for name, command in others:
            processes.start(name, command)
        serving.write_env(LOCAL / "demo.env", values)
        self._announce(console, values)
        while True:
            time.sleep(1)
            for name in processes.restart_ended():
                console.print(f"[yellow]{name} ended by itself and was started again; see {LOCAL}/logs/{name}.log")

    def _announce(self, console: Console, values: dict[str, str]) -> None:
        somebody = (
            DirectoryEntry.objects.filter(state="live")
            .order_by("customer_id")
            .values_list("external_userid", flat=True)[0]
        )
        base_url = values["BASE_URL"]
        console.print(f"\n[bold green]SCRM 已就绪[/]  (Ctrl-C 停止；日志在 {LOCAL / 'logs'})\n")
        for line in (
            f"  管理后台   {base_url}/admin/    用户名 admin    密码 {values['ADMIN_PASSWORD']}",
            f"  API 文档   {base_url}/api/v1/docs/",
            f"  API 密钥   {values['API_KEY']}",
            f"  企业微信   {values['WXWORK_BASE_URL']}/_sim/state    （模拟器，每隔约 {ARRIVALS_SECONDS} 秒有新客户）",
            f"  环境变量   {LOCAL / 'demo.env'}\n",
            *serving.curl_lines(base_url, values["API_KEY"], somebody),
        ):
            # Whole lines, so that what is copied works.
            console.print(line, soft_wrap=True, markup=False)
        sys.stdout.flush()


def commands(port: int) -> dict[str, list[str]]:
    """Return the command of each process of the product, as compose runs them too."""
    celery = [sys.executable, "-m", "celery", "-A", "scrm"]
    # Jobs give way: on a machine that is short of processors, lookups and WeCom's callbacks are answered first.
    worker = ["nice", "-n", "5", *celery, "worker"]
    return {
        "web": [
            sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port),
            "--workers", "2", "--blocking-threads", "4", "scrm.wsgi:application",
        ],
        "worker": [*worker, "--concurrency", "2", "--loglevel", "INFO"],
        "wecom-worker": [
            *worker, "--queues", "callbacks,welcome", "--concurrency", "2", "--hostname", "wecom@%h",
            "--loglevel", "INFO",
        ],
        "beat": [*celery, "beat", "--loglevel", "INFO"],
        "keeper": [*MANAGE, "keeper"],
    }  # fmt: skip


def simulator_command(url: str, customers: int, now: datetime) -> list[str]:
    """Return the command of the WeCom that the demo talks to, with customers who keep arriving."""
    return [
        *MANAGE, "wxwork_simulator", "--port", str(urlsplit(url).port), "--customers", str(customers),
        "--seed", str(SEED), "--staff", str(len(STAFF)), "--as-of", now.date().isoformat(),
        "--state-file", str(LOCAL / "demo-wecom"), "--arrivals-every", str(ARRIVALS_SECONDS),
    ]  # fmt: skip


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt
