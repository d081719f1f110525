"""Migration operations for the department databases.

Creating a partitioned table needs none: an ordinary CreateModel of a model with CustomerIdField and BucketField does it
(scrm.sharding.backend.schema). These are for what Django has no words for.
"""

from typing import Any

from django.contrib.postgres.operations import NotInTransactionMixin
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.models import AddIndex
from django.db.migrations.operations.special import RunSQL
from django.db.migrations.state import ProjectState

from scrm.sharding import ids
from scrm.sharding.model_config import DEPARTMENTS
from scrm.sharding.shard_map import PREFIX


class DepartmentSQL(RunSQL):
    """RunSQL in every department database, and nowhere else."""

    def __init__(self, sql: Any, reverse_sql: Any = None, **kwargs: Any) -> None:
        super().__init__(sql, reverse_sql, hints={"shard_group": DEPARTMENTS}, **kwargs)


class SetFillfactor(DepartmentSQL):
    """Leave room in the pages of a partitioned table, so that updates of columns without an index stay HOT."""

    def __init__(self, table: str, percent: int) -> None:
        self.table, self.percent = table, percent
        leaves = [f"{table}_{bucket}" for bucket in range(ids.BUCKETS)]
        super().__init__(
            [f'ALTER TABLE "{leaf}" SET (fillfactor = {percent})' for leaf in leaves],
            [f'ALTER TABLE "{leaf}" RESET (fillfactor)' for leaf in leaves],
        )

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        return type(self).__name__, [self.table, self.percent], {}


class AddIndexPerPartition(NotInTransactionMixin, AddIndex):
    """Add an index to a partitioned table that is in use.

    PostgreSQL refuses CREATE INDEX CONCURRENTLY on the parent, so: an empty index on the parent only, one built
    concurrently on each partition, each attached; the parent's becomes valid with the last. Repeatable after a crash.
    The migration needs `atomic = False`.
    """

    atomic = False

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        alias = schema_editor.connection.alias
        model = to_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(alias, model) or not alias.startswith(PREFIX):
            return
        self._ensure_not_in_transaction(schema_editor)
        table, name = model._meta.db_table, self.index.name
        create = str(self.index.create_sql(model, schema_editor))
        on_parent = f'ON "{table}"'
        schema_editor.execute(
            create.replace(on_parent, f'ON ONLY "{table}"').replace("CREATE INDEX", "CREATE INDEX IF NOT EXISTS"),
            params=None,
        )
        for bucket in range(ids.BUCKETS):
            leaf = f"{name}_{bucket}"
            with schema_editor.connection.cursor() as cursor:
                cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [f'"{leaf}"'])
                found = cursor.fetchone()
            if found and not found[0]:  # a build that was interrupted
                schema_editor.execute(f'DROP INDEX CONCURRENTLY "{leaf}"', params=None)
            schema_editor.execute(
                create.replace(on_parent, f'ON "{table}_{bucket}"')
                .replace(f'"{name}"', f'"{leaf}"')
                .replace("CREATE INDEX", "CREATE INDEX CONCURRENTLY IF NOT EXISTS"),
                params=None,
            )
            schema_editor.execute(f'ALTER INDEX "{name}" ATTACH PARTITION "{leaf}"', params=None)

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        alias = schema_editor.connection.alias
        model = from_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(alias, model):
            schema_editor.execute(f'DROP INDEX IF EXISTS "{self.index.name}"', params=None)

    def describe(self) -> str:
        return f"Add index {self.index.name} to each partition of {self.model_name}"
