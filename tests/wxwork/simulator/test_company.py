"""The people: the same from the same seed, quick to make, and the demo's."""

from datetime import UTC, datetime

from scrm.demo.company import Company
from wxwork.simulator.company import SampleCompany


def test_the_same_seed_and_number_give_the_same_people():
    one, two = (SampleCompany(5, 1_790_000_000, 600) for _ in range(2))
    assert list(one.people()) == list(two.people())
    more = SampleCompany(5, 1_790_000_000, 900)
    assert list(more.people())[:600] == list(one.people())
    assert list(SampleCompany(6, 1_790_000_000, 10).people()) != list(one.people())[:10]


def test_staff_grow_with_the_customers():
    assert len(SampleCompany(1, 0, 3_000).members()) == 20
    assert len(SampleCompany(1, 0, 100_000).members()) == 200
    assert len(SampleCompany(1, 0, 10, staff=7).members()) == 7


def test_people_are_as_wecom_would_take_them():
    people = list(SampleCompany(2, 1_790_000_000, 3_000).people())
    assert len({person.external_userid for person in people}) == 3_000
    for person in people:
        assert person.external_userid.startswith("wm")
        assert len(person.external_userid) == 32
        assert 1 <= len(person.follows) <= 2
        for follow in person.follows:
            assert len(follow.remark) <= 20
            assert follow.created_at < 1_790_000_000
            assert follow.lost_at is None or follow.created_at <= follow.lost_at <= 1_790_000_000
    shares = [sum(1 for p in people if p.type == 2), sum(1 for p in people if p.follows[0].lost_at)]
    assert all(50 < share < 250 for share in shares)


def test_the_demo_has_the_same_people():
    now = datetime.fromtimestamp(1_790_000_000, UTC)
    demo = Company(seed=5, now=now, customers=40, days=30)
    sample = SampleCompany(5, 1_790_000_000, 40, staff=20)
    assert [demo.external_userid(person.number) for person in sample.people()] == [
        person.external_userid for person in sample.people()
    ]
    behaviours = list(demo.behaviours())
    assert behaviours == list(Company(seed=5, now=now, customers=40, days=30).behaviours())
    known = {person.external_userid for person in sample.people()}
    assert {one["external_userid"] for one in behaviours if "identity" not in one} <= known
