from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError

from scrm.api.keys import DuplicateKeyNameError, InvalidKeyDataError, create_key
from scrm.api.scopes import DEFAULT_SCOPES, SCOPES


class Command(BaseCommand):
    help = "Make an API key and print it, last and on a line of its own. It is shown this once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="who will use it; also the source of the behaviours it sends")
        parser.add_argument(
            "--scope", action="append", choices=list(SCOPES), help="may be repeated; all but pii:read unless given"
        )
        parser.add_argument(
            "--department", action="append", type=int, metavar="N", help="WeCom's number; may be repeated; else all"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        scopes = options["scope"] or list(DEFAULT_SCOPES)
        departments = options["department"] or []
        try:
            token = create_key(options["name"], scopes=scopes, department_ids=departments)
        except (DuplicateKeyNameError, InvalidKeyDataError) as error:
            raise CommandError(str(error)) from None
        except DatabaseError as error:
            raise CommandError(f"The control database does not take it: {error}".strip()) from error
        self.stdout.write(f"Key {options['name']}: {', '.join(scopes)}")
        self.stdout.write(f"Departments: {', '.join(map(str, departments)) or 'all'}")
        self.stdout.write("Send it as `Authorization: Bearer …`. It is not stored and will not be shown again:")
        self.stdout.write(token)
