import pytest
from django.core.checks import run_checks
from django.db import models
from django.test.utils import isolate_apps

from customers.models import Customer, Department
from scrm.sharding import checks
from scrm.sharding.fields import BucketField, CustomerIdField
from scrm.sharding.model_config import _sharded, model_config

ENGINE = "scrm.sharding.backend"


def database(name, **more):
    return {"ENGINE": ENGINE, "HOST": "db", "PORT": "5432", "NAME": name, **more}


def ids_of(messages):
    messages = list(messages)
    assert all(message.hint for message in messages)
    return [message.id for message in messages]


def test_the_project_as_it_is_has_nothing_to_complain_of():
    assert [message for message in run_checks() if message.id.startswith("sharding.")] == []


@pytest.mark.parametrize(
    ("databases", "expected"),
    [
        ({"default": database("scrm")}, ["sharding.E001"]),
        ({"default": database("scrm"), "dept_abc": database("x")}, ["sharding.E002"]),
        ({"default": database("scrm"), "dept_900719": database("x")}, ["sharding.E002"]),
        ({"default": database("scrm"), "dept_1": database("x"), "dept_2": database("x")}, ["sharding.E003"]),
        ({"default": database("x"), "dept_1": database("x", HOST="DB")}, ["sharding.E003"]),
        ({"default": database("x"), "dept_1": database("y", PORT=""), "dept_2": database("y")}, ["sharding.E003"]),
        (
            {"default": database("scrm"), "dept_1": database("x", ENGINE="django.db.backends.postgresql")},
            ["sharding.E004"],
        ),
        ({"default": database("scrm"), "dept_1": database("x"), "dept_2": database("x", HOST="other")}, []),
    ],
)
def test_databases(databases, expected):
    assert ids_of(checks._check_databases(databases)) == expected


class OtherRouter:
    pass


@pytest.mark.parametrize("routers", [[], ["tests.sharding.test_checks.OtherRouter"]])
def test_the_router_is_there(settings, routers):
    settings.DATABASE_ROUTERS = routers
    assert ids_of(checks._check_router()) == ["sharding.E005"]


def test_a_fan_out_has_a_connection(settings):
    settings.FANOUT_CONNECTIONS = 0
    assert ids_of(checks._check_router()) == ["sharding.E007"]


@pytest.mark.parametrize("path", ["no.such.Strategy", "Strategy", "scrm.sharding.ids.make", "builtins.dict"])
def test_the_strategy_is_one(settings, path):
    settings.SHARDING_STRATEGY = path
    assert ids_of(checks._check_strategy()) == ["sharding.E006"]


class Base(models.Model):
    class Meta:
        abstract = True
        app_label = "customers"

    def __str__(self):
        return "x"


@pytest.fixture(autouse=True)
def _forget_declarations():
    before = dict(_sharded)
    yield
    _sharded.clear()
    _sharded.update(before)


@isolate_apps()
def test_a_model_that_is_as_it_should_be():
    @model_config(shard_group="departments")
    class Good(Base):
        pk = models.CompositePrimaryKey("customer_id", "bucket", "word")
        customer_id = CustomerIdField()
        bucket = BucketField()
        word = models.TextField()

    assert ids_of(checks.check_model(Good)) == []


@isolate_apps()
def test_both_columns_under_their_names():
    class NoBucket(Base):
        customer_id = CustomerIdField(primary_key=True)

    class NoId(Base):
        bucket = BucketField()

    class OtherName(Base):
        person = CustomerIdField(primary_key=True)
        bucket = BucketField()

    for model in (NoBucket, NoId, OtherName):
        assert ids_of(checks.check_model(model)) == ["sharding.E011"]


@isolate_apps()
def test_a_partitioned_model_is_declared():
    class Undeclared(Base):
        customer_id = CustomerIdField(primary_key=True)
        bucket = BucketField()

    assert ids_of(checks.check_model(Undeclared)) == ["sharding.E012"]


@isolate_apps()
def test_the_key_begins_with_the_customer():
    @model_config(shard_group="departments")
    class Numbered(Base):
        customer_id = CustomerIdField()
        bucket = BucketField()

    @model_config(shard_group="departments")
    class Reversed(Base):
        pk = models.CompositePrimaryKey("word", "customer_id", "bucket")
        customer_id = CustomerIdField()
        bucket = BucketField()
        word = models.TextField()

    assert "sharding.E013" in ids_of(checks.check_model(Numbered))
    assert ids_of(checks.check_model(Reversed)) == ["sharding.E013"]


@isolate_apps()
def test_no_relation_to_or_from_what_is_sharded():
    class FromOutside(Base):
        customer = models.ForeignKey(Customer, on_delete=models.CASCADE)

    class Many(Base):
        customers = models.ManyToManyField(Customer)

    @model_config(shard_group="departments")
    class ToOutside(Base):
        department = models.ForeignKey(Department, on_delete=models.CASCADE)

    for model in (FromOutside, Many, ToOutside):
        assert ids_of(checks.check_model(model)) == ["sharding.E014"]


@isolate_apps()
def test_what_is_unique_includes_the_key():
    @model_config(shard_group="departments")
    class Unique(Base):
        customer_id = CustomerIdField(primary_key=True)
        bucket = BucketField()
        word = models.TextField(unique=True)
        number = models.IntegerField()

        class Meta(Base.Meta):
            abstract = False
            constraints = [
                models.UniqueConstraint(fields=["number"], name="number_once"),
                models.UniqueConstraint(fields=["customer_id", "bucket", "number"], name="number_once_a_customer"),
            ]

    assert ids_of(checks.check_model(Unique)) == ["sharding.E015", "sharding.E015"]
