"""System checks of the department databases and of the models in them. Each says what to do.

- sharding.E001  no department database is configured
- sharding.E002  a database alias does not name a home, or its number is out of range
- sharding.E003  two homes are one database
- sharding.E004  a department database has another ENGINE than ours
- sharding.E005  ShardedRouter is not in DATABASE_ROUTERS
- sharding.E006  SHARDING_STRATEGY cannot be imported, or is no strategy
- sharding.E007  FANOUT_CONNECTIONS is less than 1
- sharding.E011  a model has a customer_id without a bucket, or a bucket without a customer_id
- sharding.E012  a model with customer_id and bucket is not declared with @model_config
- sharding.E013  the key of a partitioned model does not begin with customer_id and bucket
- sharding.E014  a relation to or from a sharded model
- sharding.E015  something unique in a partitioned model that does not include customer_id and bucket
"""

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.db import models
from django.utils.module_loading import import_string

from scrm.sharding.bucketing import BucketingStrategy
from scrm.sharding.errors import InvalidCustomerIdError
from scrm.sharding.fields import BucketField, CustomerIdField, is_partitioned
from scrm.sharding.ids import MAX_HOME
from scrm.sharding.model_config import is_sharded_model
from scrm.sharding.shard_map import PREFIX, ShardMap

ENGINE = "scrm.sharding.backend"
ROUTER = "scrm.sharding.router.ShardedRouter"
KEY = {"customer_id", "bucket"}


@register()
def settings_name_departments(**_kwargs: Any) -> list[CheckMessage]:
    """Look at DATABASES, DATABASE_ROUTERS and SHARDING_STRATEGY."""
    return [*_check_databases(settings.DATABASES), *_check_router(), *_check_strategy()]


@register()
def models_can_be_sharded(app_configs: Any = None, **_kwargs: Any) -> list[CheckMessage]:
    """Look at the models with a customer_id, a bucket or @model_config."""
    configs = apps.get_app_configs() if app_configs is None else app_configs
    return [message for config in configs for model in config.get_models() for message in check_model(model)]


def check_model(model: type[models.Model]) -> Iterator[CheckMessage]:
    """Yield what is wrong with one model."""
    fields = {field.name: field for field in model._meta.local_fields}
    has_id = any(isinstance(field, CustomerIdField) for field in fields.values())
    has_bucket = any(isinstance(field, BucketField) for field in fields.values())
    if has_id != has_bucket or (has_id and not is_partitioned(model)):
        yield Error(
            f"{model._meta.label} is not partitioned: a table of customers has both columns.",
            hint="Give it `customer_id = CustomerIdField()` and `bucket = BucketField()`, under these names.",
            obj=model,
            id="sharding.E011",
        )
        return
    yield from _check_relations(model)
    if not is_partitioned(model):
        return
    if not is_sharded_model(model):
        yield Error(
            f"{model._meta.label} has a customer_id, but would be a table of the control database.",
            hint='Decorate it with @model_config(shard_group="departments").',
            obj=model,
            id="sharding.E012",
        )
    yield from _check_key(model)
    yield from _check_uniqueness(model)


def _check_databases(databases: dict[str, dict[str, Any]]) -> Iterator[CheckMessage]:
    try:
        homes = ShardMap.of_aliases(databases).homes
    except InvalidCustomerIdError as error:
        yield Error(str(error), hint=f"DEPARTMENT_DATABASES numbers homes from 1 to {MAX_HOME}.", id="sharding.E002")
        return
    if not homes:
        yield Error(
            "No department database is configured: customers would have nowhere to live.",
            hint="Set DEPARTMENT_DATABASES=100=postgres://…/dept_100,101=postgres://…/dept_101",
            id="sharding.E001",
        )
    places: dict[tuple[str, ...], str] = {}
    for alias, entry in databases.items():
        place = (str(entry.get("HOST", "")).lower(), str(entry.get("PORT") or 5432), str(entry.get("NAME", "")))
        first = places.setdefault(place, alias)
        if first != alias:
            yield Error(
                f"{alias} and {first} are the same database.",
                hint="Give each home, and the control database, a database of its own.",
                id="sharding.E003",
            )
        if alias.startswith(PREFIX) and entry.get("ENGINE") != ENGINE:
            yield Error(
                f"{alias} has the ENGINE {entry.get('ENGINE')}, which does not refuse unguarded writes.",
                hint=f'Set "ENGINE": "{ENGINE}".',
                id="sharding.E004",
            )


def _check_router() -> Iterator[CheckMessage]:
    names = [router if isinstance(router, str) else _path(type(router)) for router in settings.DATABASE_ROUTERS]
    if ROUTER not in names:
        yield Error(
            "ShardedRouter is not in DATABASE_ROUTERS: queries on customers would go to the control database.",
            hint=f'Set DATABASE_ROUTERS = ["{ROUTER}"].',
            id="sharding.E005",
        )
    if settings.FANOUT_CONNECTIONS < 1:
        yield Error(
            f"FANOUT_CONNECTIONS is {settings.FANOUT_CONNECTIONS}: no list over several homes could be read.",
            hint="Set it to the number of department databases that one process may ask at a time, for example 4.",
            id="sharding.E007",
        )


def _check_strategy() -> Iterator[CheckMessage]:
    hint = "Name a class with pick_shard and get_shard, as scrm.sharding.bucketing.StableHashStrategy has them."
    try:
        strategy = import_string(settings.SHARDING_STRATEGY)()
    except (ImportError, TypeError) as error:
        yield Error(f"SHARDING_STRATEGY cannot be used: {error}", hint=hint, id="sharding.E006")
        return
    missing = [name for name in ("pick_shard", "get_shard") if not callable(getattr(strategy, name, None))]
    if missing:
        wanted = f"{BucketingStrategy.__name__} wants {' and '.join(missing)}"
        yield Error(f"{settings.SHARDING_STRATEGY} is no strategy: {wanted}.", hint=hint, id="sharding.E006")


def _check_relations(model: type[models.Model]) -> Iterator[CheckMessage]:
    for field in (*model._meta.local_fields, *model._meta.local_many_to_many):
        target = field.related_model if field.is_relation else None
        if not isinstance(target, type) or not issubclass(target, models.Model):
            continue
        if is_sharded_model(model) or is_sharded_model(target):
            yield Error(
                f"{model._meta.label}.{field.name} relates to {target._meta.label}, and one of them is sharded.",
                hint="Keep the id in a plain column: no key can reach another database, or ten partitions.",
                obj=field,
                id="sharding.E014",
            )


def _check_key(model: type[models.Model]) -> Iterator[CheckMessage]:
    names = [field.name for field in model._meta.pk_fields]
    if names != ["customer_id"] and names[:2] != ["customer_id", "bucket"]:
        yield Error(
            f"The key of {model._meta.label} is ({', '.join(names)}).",
            hint='Make it customer_id alone, or models.CompositePrimaryKey("customer_id", "bucket", …).',
            obj=model,
            id="sharding.E013",
        )


def _check_uniqueness(model: type[models.Model]) -> Iterator[CheckMessage]:
    unique = [{field.name} for field in model._meta.local_fields if field.unique and not field.primary_key]
    unique += [set(names) for names in model._meta.unique_together]
    unique += [set(one.fields) for one in model._meta.constraints if isinstance(one, models.UniqueConstraint)]
    for names in unique:
        if not names >= KEY:
            yield Error(
                f"{model._meta.label} wants {', '.join(sorted(names)) or 'an expression'} to be unique, "
                "which PostgreSQL can only hold within a partition.",
                hint="Add customer_id and bucket to it, or keep what must be unique in the directory.",
                obj=model,
                id="sharding.E015",
            )


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
