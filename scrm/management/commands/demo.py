"""`manage.py demo`, which is what `make demo` runs: everything from nothing, then served until Ctrl-C."""

import fcntl
import logging
import os
import signal
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError, call_command
from django.utils import timezone
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from customers.models import DirectoryEntry
from profiles.models import ProfileRun
from scrm.demo import seeding, serving
from scrm.demo.company import Company
from scrm.demo.processes import Processes, free_port

LOCAL = Path(os.environ.get("SCRM_LOCAL_DIR") or settings.BASE_DIR / ".local")
SEED = 20_260_101
READY_SECONDS = 60


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
            self._prepare(console, options["customers"])
            try:
                self._serve(console, options["port"])
            except TimeoutError as error:
                raise CommandError(f"{error} {LOCAL / 'logs'}") from error

    def _prepare(self, console: Console, customers: int) -> None:
        call_command("migrate_shards")
        # The same company every time: its 90 days end on the day it was first made.
        made_on = LOCAL / "demo-company"
        is_made = made_on.exists() and DirectoryEntry.objects.count() >= customers
        if not is_made:
            self._seed(console, Company(SEED, timezone.localtime(), customers))
            made_on.write_text(timezone.localtime().isoformat())
        if not ProfileRun.objects.filter(as_of=timezone.localdate(), state=ProfileRun.State.DONE).exists():
            call_command("classify_profiles")

    def _seed(self, console: Console, company: Company) -> None:
        seeding.seed_organisation(company)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console) as progress:
            people = progress.add_task("示例公司 · 客户", total=company.customers)
            seeding.seed_customers(company, lambda n: progress.advance(people, n))
            behaviours = progress.add_task("示例公司 · 行为", total=sum(1 for _ in company.behaviours()))
            seeding.seed_behaviours(company, lambda n: progress.advance(behaviours, n))

    def _serve(self, console: Console, preferred_port: int) -> None:
        path = LOCAL / "demo.env"
        before = serving.read_env(path)
        password = before.get("ADMIN_PASSWORD") or serving.new_password()
        seeding.ensure_login("admin", password)
        api_key = seeding.ensure_api_key("demo", before.get("API_KEY", ""))
        port = free_port(preferred_port)
        base_url = f"http://127.0.0.1:{port}"
        processes = Processes(LOCAL / "logs", {**os.environ, "DEBUG": "1", "PORT": str(port)})
        try:
            # The web process first: the others would only make it wait for a processor.
            web, *others = commands(port).items()
            processes.start(*web)
            serving.wait_until_ready(f"{base_url}/readyz", seconds=READY_SECONDS)
            for name, command in others:
                processes.start(name, command)
            values = {name: os.environ.get(name, str(getattr(settings, name, ""))) for name in serving.ENV_NAMES}
            values |= {
                "BASE_URL": base_url, "API_KEY": api_key, "ADMIN_USERNAME": "admin", "ADMIN_PASSWORD": password,
                "WXWORK_CALLBACK_TOKEN": ",".join(settings.WXWORK_CALLBACK_TOKEN),
                "WXWORK_CALLBACK_AES_KEY": ",".join(settings.WXWORK_CALLBACK_AES_KEY),
            }  # fmt: skip
            serving.write_env(path, values)
            self._announce(console, values)
            while True:
                time.sleep(1)
                for name in processes.restart_ended():
                    console.print(f"[yellow]{name} ended by itself and was started again; see {LOCAL}/logs/{name}.log")
        except KeyboardInterrupt:
            console.print("\n正在停止……")
        finally:
            processes.stop()

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
            f"  环境变量   {LOCAL / 'demo.env'}\n",
            *serving.curl_lines(base_url, values["API_KEY"], somebody),
        ):
            # Whole lines, so that what is copied works.
            console.print(line, soft_wrap=True, markup=False)
        sys.stdout.flush()


def commands(port: int) -> dict[str, list[str]]:
    """Return the command of each process of the product, as compose runs them too."""
    celery = [sys.executable, "-m", "celery", "-A", "scrm"]
    manage = [sys.executable, str(settings.BASE_DIR / "manage.py")]
    return {
        "web": [
            sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port),
            "--workers", "2", "--blocking-threads", "4", "scrm.wsgi:application",
        ],
        "worker": [*celery, "worker", "--concurrency", "2", "--loglevel", "INFO"],
        "beat": [*celery, "beat", "--loglevel", "INFO"],
        "keeper": [*manage, "keeper"],
    }  # fmt: skip


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt
