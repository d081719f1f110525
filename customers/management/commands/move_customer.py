"""Move a customer to another home: `manage.py move_customer wmEAAAA 101`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from customers.directory import DirectoryError
from customers.moves import move_customer
from scrm import sharding


class Command(BaseCommand):
    help = "把一位客户的全部数据迁移到另一个归属库；客户编号会变，旧编号仍指向同一位客户。"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("external_userid", help="外部联系人ID")
        parser.add_argument("home", type=int, help="目标归属库编号")

    def handle(self, *args: Any, **options: Any) -> None:
        external_userid, home = options["external_userid"], options["home"]
        try:
            customer_id = move_customer(external_userid, home, actor="manage.py move_customer")
        except (DirectoryError, sharding.UnknownHomeError, sharding.HomeUnavailableError, TimeoutError) as error:
            raise CommandError(f"{error} Nothing has moved; the command may be repeated.") from error
        self.stdout.write(f"{external_userid} lives in home {home} as {customer_id}.")
