import pytest
from django.db import models
from django.test.utils import isolate_apps

from customers.models import Customer, Department, Follow
from scrm import sharding
from scrm.sharding.fields import BucketField, CustomerIdField
from scrm.sharding.model_config import is_sharded_model, model_config
from scrm.sharding.models import Home
from scrm.sharding.router import ShardedRouter
from tests.sharding.people import add_customers

router = ShardedRouter()


@pytest.mark.parametrize(
    "query",
    [
        lambda: Customer.objects.count(),
        lambda: list(Customer.objects.all()),
        lambda: Customer.objects.get(customer_id=1000000000001),
        lambda: Customer.objects.filter(customer_id=1000000000001).update(name="x"),
        lambda: Customer.objects.filter(customer_id=1000000000001).delete(),
        lambda: Customer.objects.create(customer_id=1000000000001, external_userid="wm"),
        lambda: Customer.objects.bulk_create([Customer(customer_id=1000000000001, external_userid="wm")]),
        lambda: Customer(customer_id=1000000000001, external_userid="wm").save(),
        lambda: Customer.objects.raw("SELECT * FROM customers")[0],
    ],
)
def test_a_query_that_names_no_database_raises_and_names_the_table(clean_databases, query):
    with pytest.raises(sharding.UnroutableError, match=r"sharded table customers names no .*using\(sharding\.alias"):
        query()


def test_what_was_read_from_a_home_is_saved_there(clean_databases):
    customer_id = add_customers(101, 1)[0]
    customer = Customer.objects.using("dept_101").get(customer_id=customer_id)
    with sharding.atomic(customer_id):
        customer.name = "李四"
        customer.save()
    customer.refresh_from_db()
    assert customer.name == "李四"


def test_the_control_database_has_everything_else():
    assert router.db_for_read(Home) == router.db_for_write(Department) == "default"


@isolate_apps()
def test_a_proxy_is_where_its_model_is():
    class Person(Customer):
        class Meta:
            proxy = True
            app_label = "customers"

    assert is_sharded_model(Person)
    with pytest.raises(sharding.UnroutableError):
        router.db_for_read(Person)


def test_nothing_relates_to_a_sharded_row():
    customer, department = Customer(customer_id=1), Department(id=1)
    assert not router.allow_relation(customer, department)
    assert not router.allow_relation(department, customer)
    assert router.allow_relation(department, Department(id=2))


@pytest.mark.parametrize(
    ("alias", "model", "is_allowed"),
    [
        ("default", Customer, False),
        ("dept_100", Customer, True),
        ("dept_101", Follow, True),
        ("default", Department, True),
        ("dept_100", Department, False),
    ],
)
def test_each_table_is_made_in_its_databases_only(alias, model, is_allowed):
    assert router.allow_migrate(alias, model._meta.app_label, model._meta.model_name, model=model) == is_allowed


def test_an_operation_without_a_model_says_where():
    assert router.allow_migrate("default", "customers")
    assert not router.allow_migrate("dept_100", "customers")
    assert router.allow_migrate("dept_100", "customers", shard_group="departments")
    assert not router.allow_migrate("default", "customers", shard_group="departments")


@isolate_apps()
def test_a_model_that_is_gone_from_the_code_still_migrates_where_it_was():
    class Gone(models.Model):
        customer_id = CustomerIdField(primary_key=True)
        bucket = BucketField()

        class Meta:
            app_label = "customers"

        def __str__(self):
            return "gone"

    assert router.allow_migrate("dept_100", "customers", "gone", model=Gone)
    assert not router.allow_migrate("default", "customers", "gone", model=Gone)


@pytest.mark.parametrize(
    "where",
    [{"shard_group": "department"}, {"database": "dept_100"}, {}, {"shard_group": "departments", "database": "x"}],
)
def test_a_misspelt_place_is_refused(where):
    with pytest.raises(ValueError, match="model_config wants"):
        model_config(**where)
