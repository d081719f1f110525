"""Django's migrate, able to write to a department database. `migrate_shards` does all of them."""

from contextlib import nullcontext
from typing import Any

from django.core.management.commands import migrate
from django.db import connections

from scrm.sharding.backend.base import DatabaseWrapper


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> Any:
        connection = connections[options["database"]]
        session = connection.read_write_session() if isinstance(connection, DatabaseWrapper) else nullcontext()
        with session:
            return super().handle(*args, **options)
