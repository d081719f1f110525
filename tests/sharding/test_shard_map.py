import pytest

from scrm.sharding.errors import InvalidCustomerIdError, UnknownHomeError
from scrm.sharding.ids import MAX_HOME
from scrm.sharding.shard_map import ShardMap


def test_homes_are_in_order_and_once():
    assert ShardMap.of([102, 100, 101, 100]).homes == (100, 101, 102)


def test_an_id_leads_to_its_database():
    shard_map = ShardMap.of([100, 101])
    assert shard_map.alias_of_customer(1010000000007) == shard_map.alias(101) == "dept_101"
    assert 101 in shard_map
    assert 102 not in shard_map


def test_a_home_that_is_not_configured_is_named():
    with pytest.raises(UnknownHomeError, match="home 102: add it to DEPARTMENT_DATABASES") as caught:
        ShardMap.of([100]).alias_of_customer(1020000000001)
    assert caught.value.home == 102


@pytest.mark.parametrize("home", [0, -1, MAX_HOME + 1])
def test_a_number_that_cannot_be_a_home_is_refused(home):
    with pytest.raises(InvalidCustomerIdError):
        ShardMap.of([100, home])


def test_aliases_name_homes():
    shard_map = ShardMap.of_aliases(["default", "dept_101", "dept_7"])
    assert shard_map.homes == (7, 101)
    assert [shard_map.home_of_alias(alias) for alias in ("dept_7", "dept_8", "default", "dept_")] == [
        7,
        None,
        None,
        None,
    ]


@pytest.mark.parametrize("alias", ["dept_", "dept_a", "dept_0100", "dept_0", "dept_-1", "dept_１００"])
def test_an_alias_that_names_no_home_is_refused(alias):
    with pytest.raises(InvalidCustomerIdError):
        ShardMap.of_aliases([alias])
