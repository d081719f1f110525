"""`manage.py wxwork_simulator`: a WeCom in a process, for the demo, for trying things, for tests."""

import logging
import os
import signal
import threading
from argparse import ArgumentParser
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError

from wxwork.simulator import SimulatorServer
from wxwork.simulator.arrivals import Arrivals
from wxwork.simulator.corp import SECRET
from wxwork.simulator.keeping import Keeper, load
from wxwork.simulator.server import MADE_AT

CHINA = timezone(timedelta(hours=8))


class Command(BaseCommand):
    help = "Serve a sample WeCom corp: API, callbacks, and a control API under /_sim/. Stops on SIGTERM or SIGINT."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        environ = os.environ
        parser.add_argument("--port", type=int, default=8001, help="on 127.0.0.1; 0: a free one")
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--customers", type=int, default=300, metavar="N")
        parser.add_argument("--staff", type=int, default=0, metavar="M", help="default: one for every 500 customers")
        parser.add_argument("--seed", type=int, default=1, metavar="S", help="the same seed makes the same company")
        parser.add_argument("--as-of", type=date.fromisoformat, help="customers were met before this day")
        parser.add_argument("--callback-url", default=environ.get("WXWORK_SIMULATOR_CALLBACK_URL", ""))
        parser.add_argument("--callback-token", default=_first(environ.get("WXWORK_CALLBACK_TOKEN", "")))
        parser.add_argument("--callback-aes-key", default=_first(environ.get("WXWORK_CALLBACK_AES_KEY", "")))
        parser.add_argument(
            "--arrivals-every", type=float, default=0.0, metavar="SECONDS", help="let customers keep arriving"
        )
        parser.add_argument("--state-file", type=Path, help="go on with the corp kept there, and keep it")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["customers"] < 0 or options["staff"] < 0 or options["arrivals_every"] < 0:
            raise CommandError("--customers, --staff and --arrivals-every are not negative.")
        if options["callback_url"] and not (options["callback_token"] and len(options["callback_aes_key"]) == 43):
            raise CommandError("A --callback-url wants a --callback-token and a --callback-aes-key of 43 characters.")
        logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each push is no news
        # Both, because a shell that starts us in the background has SIGINT ignored.
        stops = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stops.set())
        try:
            server = _server(options)
        except OSError as error:
            raise CommandError(f"Cannot listen on {options['host']}:{options['port']}: {error}") from error
        running: list[Arrivals | Keeper] = []
        if options["state_file"]:
            load(server.corp, options["state_file"])
            running.append(Keeper(server.corp, options["state_file"]))
        if options["arrivals_every"]:
            running.append(Arrivals(server.corp, options["arrivals_every"], options["seed"]))
        with server:
            self._announce(server)
            for one in running:
                one.start()
            stops.wait()
            for one in reversed(running):
                one.stop()
        self.stdout.write("WeCom simulator stopped.")

    def _announce(self, server: SimulatorServer) -> None:
        counts = server.state.counts()
        self.stdout.write(f"WeCom simulator at {server.url}")
        self.stdout.write(
            f"  corp {server.corp.corp_id}, agent 1000025, every app's secret {SECRET}; "
            f"{counts['staff']} staff, {counts['customers']} customers"
        )
        self.stdout.write(
            f"  callbacks to {server.pushes.settings.url or 'nobody'}; control at {server.url}/_sim/state"
        )
        self.stdout.flush()


def _server(options: dict[str, Any]) -> SimulatorServer:
    as_of: date | None = options["as_of"]
    return SimulatorServer(
        options["port"],
        host=options["host"],
        customers=options["customers"],
        staff=options["staff"],
        seed=options["seed"],
        callback_url=options["callback_url"],
        callback_token=options["callback_token"],
        callback_aes_key=options["callback_aes_key"],
        made_at=MADE_AT
        if as_of is None
        else int(datetime(as_of.year, as_of.month, as_of.day, tzinfo=CHINA).timestamp()),
    )


def _first(words: str) -> str:
    """Return the first of a comma-separated list, as rotation has them."""
    return words.split(",")[0].strip()
