import signal
import threading
from argparse import ArgumentParser
from datetime import UTC, datetime
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from scrm import keeper


class Command(BaseCommand):
    help = "Does what nobody asks for and must be done: deletes cache keys that writers could not, wakes silent claims."

    def add_arguments(self, parser: ArgumentParser) -> None:
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--once", action="store_true", help="do every chore once and end")
        how.add_argument(
            "--check",
            action="store_true",
            help="say whether the keeper of this machine is well; fail if it wants a restart",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["check"]:
            self._check()
        elif options["once"]:
            self._once()
        else:
            stop = threading.Event()
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, _stopper(stop))
            keeper.run(stop, keeper.registered(), heartbeat=keeper.heartbeat_file())

    def _check(self) -> None:
        path = keeper.heartbeat_file()
        failures = keeper.find_failures(path)
        if trouble := keeper.find_trouble(path, now=datetime.now(UTC)):
            raise CommandError("\n".join(trouble + failures))
        self.stdout.write("\n".join(failures) or "The keeper is well.")

    def _once(self) -> None:
        chores = keeper.registered()
        if failed := keeper.run_once(chores):
            raise CommandError(f"failed: {', '.join(failed)}")
        self.stdout.write(f"{len(chores)} chores done.")


def _stopper(stop: threading.Event) -> Any:
    def end(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)  # the second time at once
        # The main thread may be inside stop.wait(), holding the lock that stop.set() wants.
        threading.Thread(target=stop.set).start()

    return end
