"""Create the tables of a department database.

A model with `customer_id` and `bucket` becomes one partitioned table with ten partitions:

    customers  PARTITION BY LIST (bucket)
    ├── customers_0   FOR VALUES IN (0)
    …
    └── customers_9

with a key that begins (customer_id, bucket) and CHECK (bucket = customer_id % 10). Tables other than `customers` get,
partition by partition, a composite foreign key to it, ON DELETE CASCADE (at the leaves, because a check there plans
against one table; at the parent it would route through the partition tree for every inserted row).
Any other model becomes a plain table. So an ordinary `makemigrations` serves for both.
"""

from django.db import models
from django.db.backends.postgresql import schema

from scrm.sharding import ids
from scrm.sharding.fields import is_partitioned

ROOT_TABLE = "customers"
KEY = ("customer_id", "bucket")


def key_columns(model: type[models.Model]) -> list[str]:
    """Return the columns of a partitioned table's primary key: (customer_id, bucket), then what the model adds."""
    names = [str(field.column) for field in model._meta.pk_fields]
    rest = [name for name in names if name not in KEY]
    return [*KEY, *rest]


class DatabaseSchemaEditor(schema.DatabaseSchemaEditor):
    def create_model(self, model: type[models.Model]) -> None:
        if not is_partitioned(model):
            super().create_model(model)
            return
        self._create_partitioned(model)

    def _create_partitioned(self, model: type[models.Model]) -> None:
        quote = self.quote_name
        table = model._meta.db_table
        columns = []
        for field in model._meta.local_fields:
            definition, params = self.column_sql(model, field)
            if definition is None:
                continue
            if params:
                definition = definition % tuple(self.quote_value(value) for value in params)
            columns.append(f"{quote(str(field.column))} {definition.replace(' PRIMARY KEY', '')}")
        columns.append(f"PRIMARY KEY ({', '.join(map(quote, key_columns(model)))})")
        columns.append(f"CONSTRAINT {quote(table + '_bucket')} CHECK (bucket = customer_id % {ids.BUCKETS})")
        # One with a condition is an index to PostgreSQL: Django defers it by itself, and gives None here.
        constraints = [constraint.constraint_sql(model, self) for constraint in model._meta.constraints]
        columns += [str(sql) for sql in constraints if sql is not None]
        self.execute(f"CREATE TABLE {quote(table)} ({', '.join(columns)}) PARTITION BY LIST (bucket)", params=None)
        for bucket in range(ids.BUCKETS):
            leaf = quote(f"{table}_{bucket}")
            self.execute(f"CREATE TABLE {leaf} PARTITION OF {quote(table)} FOR VALUES IN ({bucket})")
            if table != ROOT_TABLE:
                # Deferred to the end of the migration: autodetected operations come in no useful order.
                self.deferred_sql.append(
                    f"ALTER TABLE {leaf} ADD FOREIGN KEY (customer_id, bucket) "
                    f"REFERENCES {quote(f'{ROOT_TABLE}_{bucket}')} (customer_id, bucket) ON DELETE CASCADE"
                )
        self.deferred_sql.extend(self._model_indexes_sql(model))  # type: ignore[attr-defined]

    def alter_db_table(self, model: type[models.Model], old_db_table: str, new_db_table: str) -> None:
        super().alter_db_table(model, old_db_table, new_db_table)
        if is_partitioned(model) and old_db_table != new_db_table:
            for bucket in range(ids.BUCKETS):
                super().alter_db_table(model, f"{old_db_table}_{bucket}", f"{new_db_table}_{bucket}")
