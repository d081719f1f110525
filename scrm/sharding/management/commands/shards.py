import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from scrm.sharding import inspection, report
from scrm.sharding.databases import shard_map
from scrm.sharding.errors import HomeStateError, UnknownHomeError
from scrm.sharding.homes import close_home, open_home


class Command(BaseCommand):
    help = "Show the department databases: where they are, what is in them, what is wrong. Or open or close one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "action", nargs="?", choices=["open", "close"], help="let new customers go to a home, or not"
        )
        parser.add_argument("home", nargs="?", type=int)
        parser.add_argument("--json", action="store_true", help="for programs")
        parser.add_argument("--no-count", action="store_true", help="leave out row counts: quicker on large databases")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"]:
            if options["home"] is None:
                raise CommandError(f"Which home? `manage.py shards {options['action']} N`")
            return self._change(options["action"], options["home"])
        found = inspection.inspect(count=not options["no_count"])
        if options["json"]:
            self.stdout.write(json.dumps(found.as_json(), indent=2))
        else:
            report.show(report.console(self.stdout), found)
        if found.problems:
            sys.exit(1)
        return None

    def _change(self, action: str, home: int) -> None:
        try:
            changed = self._open(home) if action == "open" else close_home(home)
        except (HomeStateError, UnknownHomeError) as error:
            raise CommandError(str(error)) from None
        except DatabaseError as error:
            raise CommandError(f"The control database says: {inspection.explain(error)}") from error
        state = "open for new customers" if action == "open" else "closed: new customers go elsewhere"
        self.stdout.write(f"Home {home} is {state}." if changed else f"Home {home} was {state} already.")

    def _open(self, home: int) -> bool:
        if home in shard_map() and (problems := inspection.inspect_home(home, count=False).problems):
            raise CommandError(f"Home {home} is not ready. dept_{home} {'; '.join(problems)}.")
        return open_home(home)
