"""Follows that are merged under the customer's row lock: what is written, marked, bumped, and what is only stamped."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from customers.directory import upsert, upsert_many
from customers.lookup import CACHE, find_customer
from customers.models import Customer, DirtyCustomer, Follow
from customers.moves import move_customer
from customers.records import CustomerData, FollowData
from scrm import sharding
from tests.customers.people import make
from tests.wxwork.handlers.test_external_contact import clear_dirty

T0 = datetime(2026, 11, 25, 8, 0, tzinfo=UTC)


def later(seconds: int) -> datetime:
    return T0 + timedelta(seconds=seconds)


def read(*follows: FollowData, at: datetime = T0, stamps: bool = False, **fields: object) -> CustomerData:
    def merge(stored: Mapping[str, FollowData]) -> Sequence[FollowData]:
        return list({**stored, **{one.userid: one for one in follows}}.values())

    return CustomerData("wm1", fields, merge_follows=merge, by_wecom=True, read_at=at, stamps_read=stamps, home=100)


def row() -> Customer:
    return Customer.objects.using("dept_100").get(external_userid="wm1")


def is_dirty() -> bool:
    return DirtyCustomer.objects.using("dept_100").exists()


CHEN = FollowData("chen", remark="周", tag_ids=("et1",), created_at=T0, personal_tags=(("个人", "喝茶"),), read_at=T0)


def test_somebody_new_is_made_with_what_the_merge_returns() -> None:
    customer_id, fate = upsert(read(CHEN, name="周"))
    assert fate == "created"
    (follow,) = Follow.objects.using("dept_100").filter(customer_id=customer_id)
    assert (follow.userid, follow.personal_tags, follow.lost_by, follow.read_at) == (
        "chen", [{"group": "个人", "name": "喝茶"}], "", T0,
    )  # fmt: skip
    assert row().read_at == T0


def test_a_stamp_shows_nobody_anything() -> None:
    upsert(read(CHEN, name="周"))
    clear_dirty()
    assert CACHE.get("wm1").source == "miss"
    newer = replace(CHEN, read_at=later(5))
    assert upsert(read(newer, at=later(5), name="周", stamps=True))[1] == "unchanged"
    assert (row().version, row().read_at, is_dirty()) == (1, later(5), False)
    assert CACHE.get("wm1").source == "hit"
    # Without being asked to stamp it writes nothing at all.
    assert upsert(read(replace(CHEN, read_at=later(9)), at=later(9), name="周"))[1] == "unchanged"
    assert row().read_at == later(5)


def test_an_older_read_keeps_its_hands_off_wecoms_fields() -> None:
    upsert(read(CHEN, at=later(10), name="新"))
    assert upsert(read(CHEN, at=later(5), name="旧"))[1] == "unchanged"
    assert row().name == "新"


def test_marked_is_whose_inputs_changed() -> None:
    upsert(read(CHEN, name="周"))
    steps = [
        (replace(CHEN, remark="改"), False),
        (replace(CHEN, tag_ids=("et1", "et2")), True),
        (replace(CHEN, tag_ids=("et2", "et1")), False),
        (replace(CHEN, tag_ids=("et2", "et1"), personal_tags=()), False),
        (replace(CHEN, tag_ids=("et2", "et1"), lost_at=later(60), lost_by="customer"), True),
        (replace(CHEN, tag_ids=("et9",), lost_at=later(60), lost_by="customer"), False),
        (replace(CHEN, tag_ids=("et9",)), True),
    ]
    for number, (follow, marks) in enumerate(steps, 1):
        clear_dirty()
        done = upsert_many([read(replace(follow, read_at=later(number)), at=later(number), name="周")])
        assert done.changes == {"wm1": frozenset({"follows"})}
        assert (row().version, is_dirty()) == (1 + number, marks), follow
        customer, _ = find_customer(row().customer_id)
        assert customer is not None
        assert customer["follows"][0]["lost_by"] == (follow.lost_by or "")


def test_what_is_not_given_stays() -> None:
    upsert(read(replace(CHEN, lost_at=later(60), lost_by="customer"), name="周"))
    upsert(read(replace(CHEN, remark="改", lost_at=later(60), personal_tags=None, read_at=None), name="周"))
    follow = Follow.objects.using("dept_100").get(userid="chen")
    assert (follow.remark, follow.lost_by, follow.personal_tags, follow.read_at) == (
        "改", "customer", [{"group": "个人", "name": "喝茶"}], T0,
    )  # fmt: skip


def test_a_move_takes_it_all_along() -> None:
    upsert(read(replace(CHEN, lost_at=later(60), lost_by="transfer"), name="周"))
    customer_id = move_customer("wm1", 101, actor="test")
    follow = Follow.objects.using("dept_101").get(customer_id=customer_id)
    assert (follow.lost_by, follow.personal_tags, follow.read_at) == (
        "transfer", [{"group": "个人", "name": "喝茶"}], T0,
    )  # fmt: skip
    assert Customer.objects.using("dept_101").get(customer_id=customer_id).read_at == T0


def test_a_write_by_the_api_leaves_what_it_does_not_name() -> None:
    customer_id = make("wm1", follows=(FollowData("chen", remark="a"),))
    upsert(CustomerData("wm1", follows=(FollowData("chen", remark="b", lost_at=T0),)))
    follow = Follow.objects.using(sharding.alias(100)).get(customer_id=customer_id)
    assert (follow.remark, follow.lost_at, follow.lost_by, follow.personal_tags) == ("b", T0, "", [])
