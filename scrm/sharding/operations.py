"""Migration operations for the department databases.

Creating a partitioned table needs none: an ordinary CreateModel of a model with CustomerIdField and BucketField does it
(scrm.sharding.backend.schema). These are for what Django has no words for.
"""

import time
from typing import Any

from django.contrib.postgres.operations import NotInTransactionMixin
from django.db import OperationalError
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.models import AddIndex
from django.db.migrations.operations.special import RunSQL
from django.db.migrations.state import ProjectState
from psycopg.errors import LockNotAvailable

from scrm.sharding import ids
from scrm.sharding.model_config import DEPARTMENTS
from scrm.sharding.shard_map import PREFIX

LOCK_SECONDS = 1
LOCK_ATTEMPTS = 60


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
    concurrently on each partition, each attached; the parent's becomes valid with the last. Writers wait for none of
    it longer than LOCK_SECONDS. Repeatable after a crash. The migration needs `atomic = False`.
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
        on_parent = create.replace(f'ON "{table}"', f'ON ONLY "{table}"', 1)
        _execute_briefly(schema_editor, on_parent.replace("CREATE INDEX", "CREATE INDEX IF NOT EXISTS", 1))
        for bucket in range(ids.BUCKETS):
            leaf = f"{name}_{bucket}"
            self._drop_unfinished(schema_editor, leaf)
            on_leaf = create.replace(f'ON "{table}"', f'ON "{table}_{bucket}"', 1).replace(f'"{name}"', f'"{leaf}"', 1)
            schema_editor.execute(
                on_leaf.replace("CREATE INDEX", "CREATE INDEX CONCURRENTLY IF NOT EXISTS", 1), params=None
            )
            _execute_briefly(schema_editor, f'ALTER INDEX "{name}" ATTACH PARTITION "{leaf}"')

    def _drop_unfinished(self, schema_editor: Any, index: str) -> None:
        with schema_editor.connection.cursor() as cursor:
            cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [f'"{index}"'])
            found = cursor.fetchone()
        if found and not found[0]:
            schema_editor.execute(f'DROP INDEX CONCURRENTLY "{index}"', params=None)

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        alias = schema_editor.connection.alias
        model = from_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(alias, model):
            _execute_briefly(schema_editor, f'DROP INDEX IF EXISTS "{self.index.name}"')

    def describe(self) -> str:
        return f"Add index {self.index.name} to each partition of {self.model_name}"


def _execute_briefly(schema_editor: Any, sql: str) -> None:
    """Execute a statement that takes a moment once it has its lock, giving way to others between attempts.

    Whoever waits for a lock holds up everybody who comes after, so a long transaction must not make this one wait.
    """
    for attempt in range(LOCK_ATTEMPTS):
        schema_editor.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'", params=None)
        try:
            return schema_editor.execute(sql, params=None)
        except OperationalError as error:
            if not isinstance(error.__cause__, LockNotAvailable) or attempt == LOCK_ATTEMPTS - 1:
                raise
        finally:
            schema_editor.execute("RESET lock_timeout", params=None)
        time.sleep(LOCK_SECONDS)
    return None
