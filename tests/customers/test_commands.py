"""manage.py move_customer and sweep_directory: what they say, and how they end."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils import timezone

from customers.models import Audit
from scrm import sharding
from tests.customers.people import addresses_of, insert_row, make, state_of
from tests.servers import PrivatePostgres


def test_move_customer() -> None:
    make("wm1", home=100)
    said = StringIO()
    call_command("move_customer", "wm1", "101", stdout=said)
    (customer_id,) = addresses_of("wm1")
    assert sharding.home_of(customer_id) == 101
    assert str(customer_id) in said.getvalue()
    assert Audit.objects.get().actor == "manage.py move_customer"
    call_command("move_customer", "wm1", "101", stdout=said)  # a repeat is harmless
    assert addresses_of("wm1") == [customer_id]


@pytest.mark.parametrize(("external_userid", "home"), [("nobody", "101"), ("wm1", "102"), ("wm1", "0"), ("wm1", "-5")])
def test_move_customer_that_cannot_be(external_userid: str, home: str) -> None:
    (customer_id,) = [make("wm1", home=100)]
    with pytest.raises(CommandError, match="Nothing has moved"):
        call_command("move_customer", external_userid, "--", home)
    assert addresses_of("wm1") == [customer_id]


def test_sweep_directory_says_what_it_mended(fragile_department: PrivatePostgres) -> None:
    insert_row(sharding.allocate(100, 1)[0], "wm1", created_at=timezone.now() - timedelta(minutes=30))
    said = StringIO()
    call_command("sweep_directory", "--older-than", "60", stdout=said)
    assert state_of("wm1") is None
    call_command("sweep_directory", "--home", "100", stdout=said)
    assert state_of("wm1") == "live"
    assert "directory_added      1" in said.getvalue()
    with pytest.raises(CommandError, match="no home 102"):
        call_command("sweep_directory", "--home", "102")
    fragile_department.stop()
    connections["dept_101"].close()
    told = StringIO()
    with pytest.raises(CommandError, match="Not all"):
        call_command("sweep_directory", stdout=said, stderr=told)
    assert "dept_101 cannot be reached" in told.getvalue()
    fragile_department.start()
