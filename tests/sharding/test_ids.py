import doctest
from contextlib import suppress
from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrm.sharding import ids
from scrm.sharding.errors import InvalidCustomerIdError, ShardingError

homes = st.integers(1, ids.MAX_HOME)
numbers = st.integers(1, ids.PER_HOME - 1)
NO_IDS = [0, -1, -1000000000042, 1, 42, ids.PER_HOME, 100 * ids.PER_HOME]
NO_IDS += [ids.MAX_CUSTOMER_ID + 1, 2**53, 2**63, 2**63 + 1]
NO_NUMBERS = ["", " ", "0", "-1000000000042", "+1000000000042", " 1000000000042", "1000000000042 ", "1000000000042\n"]
NO_NUMBERS += ["1_000_000_000_042", "1e12", "0x10", "1000000000042.0", "01000000000042", "9" * 5000]
OTHER_SCRIPTS = ["١٠٠٠٠٠٠٠٠٠٠٤٢", "１００００００００００４２", "²"]


@pytest.mark.parametrize("name", ["ids", "shard_map", "bucketing"])
def test_examples_in_the_docstrings_hold(name):
    assert doctest.testmod(import_module(f"scrm.sharding.{name}")).failed == 0


@given(homes, numbers)
def test_an_id_says_which_home_gave_it(home, n):
    customer_id = ids.make(home, n)
    assert ids.is_valid(customer_id)
    assert ids.home_of(customer_id) == home
    assert ids.bucket_of(customer_id) == n % 10 == customer_id % 10
    assert customer_id < 2**53
    assert ids.parse(str(customer_id)) == ids.check(customer_id) == customer_id


@given(homes, numbers, homes, numbers)
def test_no_two_customers_share_an_id_and_order_is_by_home_then_number(home, n, other_home, other_n):
    assert (ids.make(home, n) < ids.make(other_home, other_n)) == ((home, n) < (other_home, other_n))


@pytest.mark.parametrize("value", [*NO_IDS, True, False, None, 1000000000042.0, "1000000000042", b"1"])
def test_what_no_home_could_have_given_is_no_id(value):
    assert not ids.is_valid(value)
    for use in (ids.check, ids.home_of, ids.bucket_of):
        with pytest.raises(InvalidCustomerIdError):
            use(value)


@pytest.mark.parametrize("text", [*NO_NUMBERS, *OTHER_SCRIPTS, *map(str, NO_IDS)])
def test_a_text_that_spells_no_id_is_refused(text):
    with pytest.raises(InvalidCustomerIdError) as caught:
        ids.parse(text)
    assert len(str(caught.value)) < 80


@given(st.text())
def test_any_text_is_an_id_or_refused(text):
    with suppress(InvalidCustomerIdError):
        assert str(ids.parse(text)) == text


@pytest.mark.parametrize(
    ("home", "n"), [(0, 1), (-1, 1), (ids.MAX_HOME + 1, 1), (100, 0), (100, -1), (100, ids.PER_HOME)]
)
def test_parts_out_of_range_make_no_id(home, n):
    with pytest.raises(InvalidCustomerIdError):
        ids.make(home, n)


def test_a_wrong_id_is_bad_input_and_a_sharding_error():
    assert issubclass(InvalidCustomerIdError, ValueError)
    assert issubclass(InvalidCustomerIdError, ShardingError)
