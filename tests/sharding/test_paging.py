import time
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from customers.models import Customer
from scrm import sharding
from scrm.sharding.errors import HomeUnavailableError
from scrm.sharding.ids import PER_HOME, home_of, make
from tests.sharding.people import add_customers


@dataclass(frozen=True)
class Row:
    customer_id: int


HOMES = (100, 101, 102, 103, 104, 105)
numbers = st.integers(1, 60)
people = st.builds(make, st.sampled_from(HOMES), numbers)


class Company:
    """Homes in memory, which change between pages."""

    def __init__(self, stay, come_and_go):
        self.stay, self.come_and_go, self.down = stay, come_and_go, set()
        self.asked = []

    def fetch(self, home, after, limit):
        self.asked.append(home)
        if home in self.down:
            raise HomeUnavailableError(home)
        found = sorted(one for one in self.stay | self.come_and_go if home_of(one) == home and one > after)
        return [Row(one) for one in found[:limit]]


def read_all(company, limit, changes=(), homes=HOMES):
    """Follow the position to its end; before each page the next of changes happens."""
    position, pages, changes = None, [], list(changes)
    while True:
        company.come_and_go, company.down = changes.pop(0) if changes else (company.come_and_go, set())
        page = sharding.page_across(company.fetch, position, limit, homes)
        pages.append(page)
        position = page.position
        if position is None:
            return pages
        assert len(pages) < 1000


@settings(max_examples=150, deadline=None)
@given(
    st.sets(people, max_size=80),
    st.lists(st.tuples(st.sets(people, max_size=20), st.sets(st.sampled_from(HOMES))), max_size=15),
    st.integers(1, 30),
)
def test_everybody_who_was_there_all_along_is_seen_exactly_once(stay, changes, limit):
    pages = read_all(Company(stay, set()), limit, changes)
    seen = [row.customer_id for page in pages for row in page.items]
    assert len(seen) == len(set(seen))
    assert stay <= set(seen)
    for page in pages:
        ids = [row.customer_id for row in page.items]
        assert ids == sorted(ids)
        assert len(ids) <= limit
    for home in HOMES:
        of_home = [one for one in seen if home_of(one) == home]
        assert of_home == sorted(of_home)


@settings(max_examples=100, deadline=None)
@given(st.sets(people, max_size=80), st.integers(1, 30))
def test_without_outages_the_order_is_by_customer_id_and_pages_are_full(stay, limit):
    pages = read_all(Company(stay, set()), limit)
    assert [row.customer_id for page in pages for row in page.items] == sorted(stay)
    assert all(len(page.items) == limit for page in pages[:-1])
    assert all(page.unavailable == [] for page in pages)


def test_a_home_that_is_down_is_owed_until_it_has_answered():
    company = Company({make(100, 1), make(101, 1), make(102, 1)}, set())
    company.down = {101}
    first = sharding.page_across(company.fetch, None, 10, HOMES)
    assert [row.customer_id for row in first.items] == [make(100, 1), make(102, 1)]
    assert first.unavailable == [101]
    again = sharding.page_across(company.fetch, first.position, 10, HOMES)
    assert (again.items, again.unavailable) == ([], [101])
    assert again.position == first.position
    company.down = set()
    last = sharding.page_across(company.fetch, again.position, 10, HOMES)
    assert ([row.customer_id for row in last.items], last.position, last.unavailable) == ([make(101, 1)], None, [])


def test_a_page_that_the_first_home_fills_asks_no_other():
    company = Company({make(100, n) for n in range(1, 20)} | {make(101, 1)}, set())
    page = sharding.page_across(company.fetch, None, 5, HOMES)
    assert company.asked == [100]
    assert page.position[100] == make(100, 5)


def test_a_last_page_that_is_just_full_ends_the_list():
    company = Company({make(100, n) for n in range(1, 6)}, set())
    assert sharding.page_across(company.fetch, None, 5, [100]).position is None


def test_a_home_opened_on_the_way_is_read_from_its_start_and_one_no_longer_asked_for_is_left():
    company = Company({make(100, 1), make(100, 2), make(106, 1)}, set())
    page = sharding.page_across(company.fetch, {100: make(100, 1), 7: 0}, 5, [100, 106])
    assert [row.customer_id for row in page.items] == [make(100, 2), make(106, 1)]
    assert page.position is None


def test_in_real_databases_one_of_which_goes_down_and_comes_back(fragile_department):
    there = set(add_customers(100, 30)) | set(add_customers(101, 30))
    erased = set(list(there)[::7])

    def fetch(home, after, limit):
        rows = Customer.objects.using(sharding.alias(home)).filter(customer_id__gt=after)
        return list(rows.order_by("customer_id")[:limit])

    position, seen, unavailable = None, [], []
    for number in range(100):
        if number == 2:
            fragile_department.stop()
            add_customers(100, 5)
        if number == 9:
            fragile_department.start()
            time.sleep(1.1)
            add_customers(101, 5)
            for customer_id in erased - set(seen):
                with sharding.atomic(customer_id) as alias:
                    Customer.objects.using(alias).filter(customer_id=customer_id).delete()
        page = sharding.page_across(fetch, position, 7, sharding.shard_map().homes)
        seen += [row.customer_id for row in page.items]
        unavailable += page.unavailable
        position = page.position
        if position is None:
            break
    assert position is None
    assert set(unavailable) == {101}
    assert len(seen) == len(set(seen))
    assert there - erased <= set(seen)
    assert max(seen) > 101 * PER_HOME
