from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from scrm.api.keys import HELD_SECONDS, revoke_key


class Command(BaseCommand):
    help = "Revoke an API key. Running processes refuse it within half a minute."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")

    def handle(self, *args: Any, **options: Any) -> None:
        if not revoke_key(options["name"]):
            raise CommandError(f"There is no live key named {options['name']!r}.")
        self.stdout.write(f"Key {options['name']} is revoked; every process refuses it within {HELD_SECONDS:.0f} s.")
