"""Say of a model where its table is: the decorator, and the registry that the router reads."""

from collections.abc import Callable
from typing import TypeVar

from django.db import models

from scrm.sharding.fields import is_partitioned

DEPARTMENTS = "departments"
Model = TypeVar("Model", bound=type[models.Model])

_sharded: dict[tuple[str, str], type[models.Model]] = {}


def model_config(*, shard_group: str | None = None, database: str | None = None) -> Callable[[Model], Model]:
    """Declare where a model's table is: in every database of a shard group, or in one database.

    @model_config(shard_group="departments") - a table of each department database; queries must name one with
    using(…). @model_config(database="default") - the control database, which is also what no decorator means.
    Raises ValueError for anything else: a typo must not send a table to `default`.
    """
    if (shard_group, database) not in {(DEPARTMENTS, None), (None, "default")}:
        raise ValueError(f"model_config wants shard_group={DEPARTMENTS!r} or database='default'.")

    def declare(model: Model) -> Model:
        if shard_group:
            _sharded[model._meta.app_label, model._meta.model_name or ""] = model
        return model

    return declare


def is_sharded(app_label: str, model_name: str) -> bool:
    """Tell whether a model's table is in the department databases."""
    return (app_label, model_name) in _sharded


def is_sharded_model(model: type[models.Model]) -> bool:
    """Tell whether a model's table is in the department databases. A proxy is where its model is."""
    meta = (model._meta.concrete_model or model)._meta
    return is_sharded(meta.app_label, meta.model_name or "")


def sharded_models() -> list[type[models.Model]]:
    """Return the models of the department databases in order of declaration, which is the order of foreign keys."""
    return list(_sharded.values())


def partitioned_models() -> list[type[models.Model]]:
    """Return those of them that are keyed by customer_id, and so partitioned by bucket."""
    return [model for model in sharded_models() if is_partitioned(model)]
