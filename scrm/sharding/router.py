"""Send each query to its database, or raise. Nothing falls through to `default`."""

from typing import Any

from django.db import models

from scrm.sharding.errors import UnroutableError
from scrm.sharding.fields import is_partitioned
from scrm.sharding.model_config import DEPARTMENTS, is_sharded, is_sharded_model
from scrm.sharding.shard_map import PREFIX


class ShardedRouter:
    """Routes models without a shard group to `default`; one with it only where its instance or using(…) says."""

    def _route(self, model: type[models.Model], hints: dict[str, Any]) -> str:
        if not is_sharded_model(model):
            return "default"
        instance = hints.get("instance")
        alias = instance._state.db if instance is not None else None
        if alias is not None and alias.startswith(PREFIX):
            return alias
        raise UnroutableError(
            f"A query on the sharded table {model._meta.db_table} names no department database: "
            "use .using(sharding.alias(home)), or the functions of the app it belongs to."
        )

    def db_for_read(self, model: type[models.Model], **hints: Any) -> str:
        return self._route(model, hints)

    def db_for_write(self, model: type[models.Model], **hints: Any) -> str:
        return self._route(model, hints)

    def allow_relation(self, obj1: models.Model, obj2: models.Model, **hints: Any) -> bool:
        """Refuse every relation to or from a sharded table: there is no key that it could use."""
        return not any(is_sharded_model(type(obj)) for obj in (obj1, obj2))

    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **hints: Any) -> bool:
        """Tables of the shard group go to department databases only, all else to the control database only.

        An operation without a model (RunSQL, RunPython) says where with hints={"shard_group": "departments"}.
        """
        return db.startswith(PREFIX) == self._is_sharded(app_label, model_name, hints)

    def _is_sharded(self, app_label: str, model_name: str | None, hints: dict[str, Any]) -> bool:
        if not model_name:
            return hints.get("shard_group") == DEPARTMENTS
        historical = hints.get("model")
        # A model that is gone from the code, or has another name now, is still in its old migrations.
        return is_sharded(app_label, model_name) or (historical is not None and is_partitioned(historical))
