"""The register of homes in the control database: which there are, and which take new customers."""

from collections.abc import Iterable

from django.db import connection, transaction
from django.utils import timezone

from scrm.sharding.databases import shard_map
from scrm.sharding.errors import HomeStateError, UnknownHomeError
from scrm.sharding.models import Home, open_homes


def register(homes: Iterable[int]) -> dict[int, bool]:
    """Add migrated homes to the register. Returns {home: is it open} of those that were not there yet.

    In an empty register they are opened: a new system should just work. Later ones are closed until somebody opens
    them, because processes that do not know them yet could not read what is put there.
    Database: the control database. Two registrations at once follow each other.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE sharding_home IN SHARE ROW EXCLUSIVE MODE")
        known = set(Home.objects.values_list("home", flat=True))
        is_open = not known
        opened_at = timezone.now() if is_open else None
        new = [Home(home=home, is_open=is_open, opened_at=opened_at) for home in homes if home not in known]
        Home.objects.bulk_create(new)
    open_homes.forget()
    return {home.home: is_open for home in new}


def open_home(home: int) -> bool:
    """Let new customers go to a home. Returns False when they did already.

    The other processes notice within five seconds. Raises UnknownHomeError, HomeStateError.
    """
    if home not in shard_map():
        raise UnknownHomeError(home)
    _require_registered(home)
    changed = Home.objects.filter(home=home, is_open=False).update(is_open=True, opened_at=timezone.now())
    open_homes.forget()
    return bool(changed)


def close_home(home: int) -> bool:
    """Send no more new customers to a home; those who are there stay. Returns False when it was closed already.

    Raises HomeStateError when nobody could be created any more.
    """
    _require_registered(home)
    with transaction.atomic():
        is_open = dict(Home.objects.select_for_update().order_by("home").values_list("home", "is_open"))
        if not is_open[home]:
            return False
        if not any(other_is_open for other, other_is_open in is_open.items() if other != home):
            raise HomeStateError(f"Home {home} is the last open one: new customers would have nowhere to go.")
        Home.objects.filter(home=home).update(is_open=False, opened_at=None)
    open_homes.forget()
    return True


def _require_registered(home: int) -> None:
    if not Home.objects.filter(home=home).exists():
        raise HomeStateError(f"Home {home} is not registered: run `manage.py migrate_shards` first.")
