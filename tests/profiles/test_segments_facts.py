"""Every field of a segment, read from what is stored of a customer."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from customers.directory import addresses, upsert_many
from customers.models import Customer, Department, Staff
from customers.organisation import organisation
from customers.records import CustomerData, FollowData
from profiles.models import CustomerScore
from profiles.rules import FIELDS, Filter
from profiles.segments.members import change_members
from profiles.segments.preview import preview
from scrm import sharding
from tests.profiles.behaviours import item, record
from tests.profiles.segments import condition, dynamic, members, static

pytestmark = pytest.mark.usefixtures("clean_databases")


@pytest.fixture
def both() -> tuple[int, int]:
    """wmA of home 100, about whom much is known, and wmB of home 101, about whom nothing is."""
    Department.objects.create(id=100, name="华东")
    Department.objects.create(id=110, name="上海", parent_id=100)
    Staff.objects.create(userid="zhang", name="张").departments.set([110])
    Staff.objects.create(userid="li", name="李").departments.set([100])
    organisation.forget()
    now = timezone.now()
    follows = (
        FollowData("zhang", add_way=3, state="shop-1", tag_ids=("et1",), created_at=now - timedelta(days=10)),
        FollowData("li", add_way=9, state="gone", created_at=now - timedelta(days=90), lost_at=now),
    )
    upsert_many(
        [
            CustomerData("wmA", {"gender": 2, "type": 2}, home=100, follows=follows, tag_ids=("own1",)),
            CustomerData("wmB", home=101),
        ]
    )
    there = addresses(["wmA", "wmB"])
    a, b = there["wmA"], there["wmB"]
    at = (now - timedelta(days=2)).isoformat()
    done = record(
        item("1", "wmA", amount="99.50", occurred_at=at), item("2", "wmA", kind="interaction", occurred_at=at),
        now=now,
    )  # fmt: skip
    assert done.accepted == 2
    with sharding.atomic(a) as alias:
        Customer.objects.using(alias).filter(customer_id=a).update(profile="高价值客户", lifecycle="active")
        CustomerScore.objects.using(alias).create(
            customer_id=a, bucket=a % 10, run_id=1, recency_score=5, frequency_score=3, monetary_score=1,
            rfm_segment="重要价值客户", alive_percent=90, expected_purchases="1.25", expected_amount="88.10",
            loss_warning="high",
        )  # fmt: skip
    return a, b


HOLDING = [
    ("purchase_count", ">=", 1), ("interaction_count", "==", 1), ("total_amount", "==", "99.50"),
    ("refund_count", "<", 1), ("purchase_days", "==", 1), ("days_since_last_purchase", "==", 3),
    ("days_since_last_interaction", "<=", 3), ("days_since_first_behaviour", "<=", 3), ("days_since_added", "==", 11),
    ("follow_count", "==", 1), ("tags", "has", "et1"), ("tags", "has", "own1"), ("lifecycle", "is", "active"),
    ("profile", "is", "高价值客户"), ("rfm_segment", "is", "重要价值客户"), ("loss_warning", "is", "high"),
    ("recency_score", "==", 5), ("frequency_score", "==", 3), ("monetary_score", "!=", 5), ("alive_percent", ">=", 90),
    ("expected_purchases", "==", "1.25"), ("expected_amount", "==", "88.10"), ("home", "is", "100"),
    ("gender", "is", "2"), ("type", "is", "2"), ("add_way", "is", "3"), ("follow_state", "is", "shop-1"),
    ("followed_by", "is", "zhang"), ("department", "is", "100"), ("department", "is", "110"),
    ("days_since_created", "==", 1),
]  # fmt: skip
FAILING = [
    ("add_way", "is", "9"), ("follow_state", "is", "gone"), ("followed_by", "is", "li"), ("department", "is", "7"),
    ("add_way", "is", "99999999999"), ("lifecycle", "is", "lost"), ("tags", "has", "et2"), ("gender", "is", "1"),
]  # fmt: skip


def test_every_field_is_read(both: tuple[int, int]) -> None:
    a, b = both
    chosen = static("名单")
    change_members(chosen, add=["wmA"], by="test")
    holding = [*HOLDING, ("segment", "in", str(chosen.pk))]
    assert {field for field, _, _ in holding} == set(FIELDS)
    wrong = []
    for field, operator, value in holding:
        found = preview(Filter.from_json([[condition(field, operator, value), condition("home", "is", "100")]]))
        if (found.found, found.is_exact) != (1, True):
            wrong.append((field, operator, value))
    assert wrong == []
    for field, operator, value in FAILING:
        assert preview(Filter.from_json([[condition(field, operator, value)]])).found == 0, (field, value)
    everything = dynamic(
        "全部", [condition(*one) for one in holding[:20]], [condition(*one) for one in holding[20:]], computed=True
    )
    assert members(everything) == {a}
    nobody = dynamic(
        "都不是", [condition("followed_by", "is_not", "zhang"), condition("profile", "is_not", "高价值客户")]
    )
    assert members(nobody) == {b}


def test_channels_and_windows_count_today(both: tuple[int, int]) -> None:
    a, _b = both
    record(item("3", "wmA", channel="douyin", occurred_at=datetime.now(UTC).isoformat()), now=timezone.now())
    today = dynamic("今天抖音", [condition("purchase_count", ">=", 1, window_days=1, channel="douyin")])
    assert members(today) == {a}
    assert members(dynamic("今天门店", [condition("purchase_count", ">=", 1, window_days=1, channel="store")])) == set()
    assert members(dynamic("三天门店", [condition("purchase_count", ">=", 1, window_days=3, channel="store")])) == {a}
