"""Compare a department database with what the models say it must hold: partitions, checks, keys, the sequence."""

from typing import Any

from scrm.sharding.backend.schema import ROOT_TABLE
from scrm.sharding.databases import SEQUENCE, cursor
from scrm.sharding.ids import BUCKETS
from scrm.sharding.model_config import partitioned_models

__all__ = ["ROOT_TABLE", "find_last_number", "find_problems", "identity"]

PARTITIONS = """
SELECT parent.relname, leaf.relname, pg_get_expr(leaf.relpartbound, leaf.oid),
       EXISTS (SELECT FROM pg_constraint WHERE conrelid = leaf.oid AND contype = 'c'
               AND pg_get_constraintdef(oid) = %(check)s AND convalidated),
       ARRAY(SELECT confrelid::regclass::text FROM pg_constraint
             WHERE conrelid = leaf.oid AND contype = 'f' AND confdeltype = 'c' AND convalidated)
FROM pg_class AS parent
JOIN pg_inherits ON inhparent = parent.oid
JOIN pg_class AS leaf ON leaf.oid = inhrelid
WHERE parent.relkind = 'p' AND parent.relname = ANY (%(tables)s) AND pg_table_is_visible(parent.oid)
"""
INVALID_INDEXES = """
SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class AS of ON of.oid = indrelid
WHERE NOT indisvalid AND pg_table_is_visible(of.oid) ORDER BY 1
"""
CHECK = f"CHECK ((bucket = (customer_id % ({BUCKETS})::bigint)))"


def find_problems(home: int) -> list[str]:
    """Return in words what a migrated home lacks. Database: three queries on the catalog of the home's."""
    tables = [model._meta.db_table for model in partitioned_models()]
    with cursor(home) as rows:
        rows.execute(PARTITIONS, {"check": CHECK, "tables": tables})
        leaves = {(parent, bound): (leaf, *rest) for parent, leaf, bound, *rest in rows.fetchall()}
        problems = [problem for table in tables for problem in _judge(table, leaves)]
        rows.execute(INVALID_INDEXES)
        problems += [f"the index {name} was never finished: run its migration again" for (name,) in rows.fetchall()]
    if find_last_number(home) is None:
        problems.append(f"the sequence {SEQUENCE} is missing: nobody can be created")
    return problems


def find_last_number(home: int) -> int | None:
    """Return the greatest number that the sequence has given, 0 for none; None when there is no sequence."""
    with cursor(home) as rows:
        rows.execute("SELECT to_regclass(%s) IS NULL", [SEQUENCE])
        if rows.fetchone()[0]:
            return None
        rows.execute("SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM customer_ids")
        return int(rows.fetchone()[0])


def identity(home: int) -> str:
    """Return what tells this database from every other one, by whatever host name it is reached."""
    with cursor(home) as rows:
        rows.execute(
            "SELECT system_identifier, oid FROM pg_control_system(), pg_database WHERE datname = current_database()"
        )
        return "/".join(map(str, rows.fetchone()))


def _judge(table: str, leaves: dict[tuple[str, str], tuple[Any, ...]]) -> list[str]:
    found = {bucket: leaves.get((table, f"FOR VALUES IN ('{bucket}')")) for bucket in range(BUCKETS)}
    missing = [bucket for bucket, leaf in found.items() if leaf is None]
    problems = []
    if len(missing) == BUCKETS:
        problems.append(f"the partitioned table {table} is missing")
    elif missing:
        problems.append(f"{table} has no partition for bucket {', '.join(map(str, missing))}")
    for bucket, leaf in found.items():
        problems += _judge_leaf(table, bucket, *leaf) if leaf else []
    return problems


def _judge_leaf(table: str, bucket: int, name: str, has_check: bool, parents: list[str]) -> list[str]:
    problems = []
    if name != f"{table}_{bucket}":
        problems.append(f"the partition of {table} for bucket {bucket} is called {name}")
    if not has_check:
        problems.append(f"{name} does not check that bucket = customer_id % {BUCKETS}")
    if table != ROOT_TABLE and f"{ROOT_TABLE}_{bucket}" not in parents:
        problems.append(f"{name} has no foreign key to {ROOT_TABLE}_{bucket} that cascades")
    return problems
