"""Whom a run would move: some of them by name, and nobody whom the reader may not see."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.utils import timezone

from customers.access import EVERYTHING, Scope
from customers.models import Customer, Follow, Staff
from profiles import publishing
from profiles.days import day_of
from profiles.models import ProfileRun
from profiles.rules import Condition, Rule
from profiles.runs import run_all, start_run
from profiles.samples import list_samples
from scrm import sharding

pytestmark = pytest.mark.usefixtures("clean_databases")


@pytest.fixture
def dry_run(company: object) -> ProfileRun:
    """Everybody would be of one class, of forty customers in two homes."""
    draft = publishing.save_draft([Rule("人人", (Condition("interaction_count", ">=", 0),))], "其他")
    return run_all(start_run("backtest", day_of(timezone.now()), rule_version=draft.pk, requested_by="admin"))


def names() -> dict[int, str]:
    return {
        customer_id: name
        for home in sharding.shard_map().homes
        for customer_id, name in Customer.objects.using(sharding.alias(home)).values_list("customer_id", "name")
    }


def test_five_of_each_pair_of_classes(dry_run: ProfileRun) -> None:
    (sample,) = list_samples(dry_run, EVERYTHING)
    assert (sample.before, sample.after) == (None, "人人")
    assert len(sample.customers) == 5
    assert set(sample.customers) <= set(names().items())


def followed_by(userid: str) -> set[int]:
    return {
        customer_id
        for home in sharding.shard_map().homes
        for customer_id in Follow.objects.using(sharding.alias(home))
        .filter(userid=userid, lost_at=None)
        .values_list("customer_id", flat=True)
    }


def test_only_of_those_in_scope(dry_run: ProfileRun) -> None:
    assert list_samples(dry_run, Scope(frozenset({999}), frozenset({"nobody"}))) == []
    userid = next(one.userid for one in Staff.objects.order_by("userid") if len(followed_by(one.userid)) > 2)
    (sample,) = list_samples(dry_run, Scope(frozenset({999}), frozenset({userid})))
    assert sample.customers
    assert {customer_id for customer_id, _ in sample.customers} <= followed_by(userid)


def test_who_may_see_customers_sees_names(
    admin: Client, staff_with: Callable[..., Client], dry_run: ProfileRun
) -> None:
    address = f"/admin/profiles/profilerun/{dry_run.pk}/change/"
    ((customer_id, name), *_) = list_samples(dry_run, EVERYTHING)[0].customers
    html = admin.get(address).content.decode()
    assert f'href="/admin/customers/customer/{customer_id}/"' in html.replace("change/", "")
    assert name in html
    html = staff_with("profiles.view_profilerun").get(address).content.decode()
    assert "其中的一些客户" not in html
    assert name not in html


def test_who_is_gone_is_left_out(dry_run: ProfileRun) -> None:
    for home in sharding.shard_map().homes:
        with sharding.atomic_home(home), sharding.cursor(home) as cursor:
            cursor.execute("DELETE FROM customers")
    assert list_samples(dry_run, EVERYTHING) == []
