import threading
import time
from contextlib import contextmanager

import psycopg
import pytest
from django.db import DatabaseError, IntegrityError, connections, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ModelState

from customers.models import Customer, Follow, Note
from scrm import sharding
from scrm.sharding import structure
from scrm.sharding.fields import BucketField, CustomerIdField
from scrm.sharding.model_config import partitioned_models, sharded_models
from scrm.sharding.operations import AddIndexPerPartition, DepartmentSQL, SetFillfactor
from tests.databases import run, url_of
from tests.sharding.people import add_customers

INDEX = "notes_author_test"


def rows_of(query, alias="dept_100"):
    with psycopg.connect(url_of(alias), autocommit=True) as connection:
        return connection.execute(query).fetchall()


@contextmanager
def schema_editor(*, atomic=True):
    connection = connections["dept_100"]
    with connection.read_write_session(), connection.schema_editor(atomic=atomic) as editor:
        yield editor


# ------------------------------------------------------------------------------------------------------------- tables
@pytest.mark.parametrize("home", [100, 101])
def test_a_migrated_home_has_all_that_the_models_say(clean_databases, home):
    assert structure.find_problems(home) == []


def test_every_table_of_customers_is_partitioned(clean_databases):
    tables = {model._meta.db_table for model in partitioned_models()}
    assert {"customers", "follows", "customer_tags", "notes", "behaviours", "daily_totals", "running_totals"} <= tables
    partitioned = rows_of("SELECT partrelid::regclass::text, partstrat, partnatts FROM pg_partitioned_table")
    assert {name for name, *_ in partitioned} == tables
    assert {(strategy, columns) for _, strategy, columns in partitioned} == {("l", 1)}


LEAVES = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = '{}'::regclass ORDER BY 1"
CONSTRAINTS = "SELECT contype, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = '{}'::regclass"
TABLES = """
SELECT relname FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
"""


@pytest.mark.parametrize("table", sorted(model._meta.db_table for model in partitioned_models()))
def test_a_partitioned_table(clean_databases, table):
    assert [name for (name,) in rows_of(LEAVES.format(table))] == [f"{table}_{bucket}" for bucket in range(10)]
    [key] = [text for kind, text in rows_of(CONSTRAINTS.format(table)) if kind == "p"]
    assert key.startswith("PRIMARY KEY (customer_id, bucket")
    for bucket in range(10):
        constraints = rows_of(CONSTRAINTS.format(f"{table}_{bucket}"))
        assert ("c", structure.CHECK) in constraints
        parent = f"customers_{bucket}(customer_id, bucket) ON DELETE CASCADE"
        expected = [] if table == "customers" else [f"FOREIGN KEY (customer_id, bucket) REFERENCES {parent}"]
        assert [text for kind, text in constraints if kind == "f"] == expected


def test_other_tables_are_plain_and_nothing_of_ours_is_elsewhere(clean_databases):
    ours = {model._meta.db_table for model in sharded_models()}
    assert {name for (name,) in rows_of(TABLES)} == ours | {"django_migrations"}
    control = {name for (name,) in rows_of(TABLES, "default")}
    assert not control & ours
    assert {"directory", "sharding_home", "auth_user"} <= control


def test_a_row_in_the_wrong_bucket_is_refused(clean_databases):
    def work():
        with sharding.atomic_home(100), sharding.cursor(100) as cursor:
            cursor.execute("INSERT INTO dirty_customers (customer_id, bucket, mark) VALUES (1000000000001, 2, 1)")

    with pytest.raises(IntegrityError, match="dirty_customers_bucket"):
        work()


def test_a_child_without_a_customer_is_refused_and_erasing_a_customer_takes_the_children_along(clean_databases):
    customer_id, other = add_customers(100, 2)

    def add_child(one):
        with sharding.atomic_home(100) as alias:
            Follow.objects.using(alias).create(customer_id=one, userid="zhang")
            Note.objects.using(alias).create(customer_id=one, author="zhang", text="x")

    add_child(customer_id)
    add_child(other)
    with pytest.raises(IntegrityError):
        add_child(1000000099999)
    with sharding.atomic(customer_id) as alias:
        Customer.objects.using(alias).filter(customer_id=customer_id).delete()
    for model in (Follow, Note):
        assert list(model.objects.using("dept_100").values_list("customer_id", flat=True)) == [other]


# ------------------------------------------------------------------------------------------------------- schema editor
def made_up_model(name, table):
    state = ModelState(
        "customers",
        name,
        [
            ("pk", models.CompositePrimaryKey("customer_id", "bucket", "word")),
            ("customer_id", CustomerIdField()),
            ("bucket", BucketField()),
            ("word", models.TextField()),
            ("number", models.IntegerField(default=7)),
        ],
        {"db_table": table, "indexes": [models.Index(fields=["number"], name=f"{table}_number")]},
        managers=[],
    )
    project = MigrationLoader(None).project_state()
    project.add_model(state)
    return project.apps.get_model("customers", name)


@pytest.fixture
def words(clean_databases):
    model = made_up_model("Word", "words")
    with schema_editor() as editor:
        editor.create_model(model)
    yield model
    run("dept_100", "DROP TABLE IF EXISTS words, terms CASCADE")


def test_later_columns_and_indexes_reach_every_partition(words):
    field = models.TextField(default="", db_index=True)
    field.set_attributes_from_name("colour")
    field.model = words
    with schema_editor() as editor:
        editor.add_field(words, field)
    columns = rows_of(
        "SELECT count(*) FROM pg_attribute JOIN pg_class ON attrelid = pg_class.oid "
        "WHERE attname = 'colour' AND relkind IN ('p', 'r') AND relname LIKE 'words%'"
    )
    assert columns == [(11,)]
    indexes = rows_of("SELECT count(*) FROM pg_index WHERE indrelid::regclass::text ~ '^words_[0-9]$' AND indisvalid")
    assert indexes == [(10 * 4,)]  # the key, number, colour, colour for LIKE


def test_a_renamed_table_renames_its_partitions(words):
    with schema_editor() as editor:
        editor.alter_db_table(words, "words", "terms")
    leaves = rows_of(LEAVES.format("terms"))
    assert [name for (name,) in leaves] == [f"terms_{bucket}" for bucket in range(10)]


def test_a_deleted_model_takes_its_partitions_along(words):
    with schema_editor() as editor:
        editor.delete_model(words)
    assert rows_of("SELECT count(*) FROM pg_class WHERE relname LIKE 'words%'") == [(0,)]


# ---------------------------------------------------------------------------------------------------------- operations
class IndexMigration:
    """An AddIndexPerPartition on notes, run forwards and backwards."""

    def __init__(self):
        self.operation = AddIndexPerPartition("note", models.Index(fields=["author"], name=INDEX))
        self.before = MigrationLoader(None).project_state()
        self.after = self.before.clone()
        self.operation.state_forwards("customers", self.after)

    def forwards(self, alias="dept_100"):
        connection = connections[alias]
        if alias == "default":
            with connection.schema_editor(atomic=False) as editor:
                return self.operation.database_forwards("customers", editor, self.before, self.after)
        with schema_editor(atomic=False) as editor:
            return self.operation.database_forwards("customers", editor, self.before, self.after)

    def backwards(self):
        with schema_editor(atomic=False) as editor:
            self.operation.database_backwards("customers", editor, self.after, self.before)


@pytest.fixture
def index(clean_databases):
    yield IndexMigration()
    run("dept_100", f"DROP INDEX IF EXISTS {INDEX}")
    for bucket in range(10):
        run("dept_100", f"DROP INDEX IF EXISTS {INDEX}_{bucket}")


def is_complete():
    [(is_valid,)] = rows_of(f"SELECT indisvalid FROM pg_index WHERE indexrelid = '{INDEX}'::regclass")
    [(attached,)] = rows_of(f"SELECT count(*) FROM pg_inherits WHERE inhparent = '{INDEX}'::regclass")
    return is_valid and attached == 10


def test_an_index_is_added_to_each_partition_and_may_be_added_again(index):
    index.forwards()
    assert is_complete()
    index.forwards()
    assert is_complete()
    index.backwards()
    assert rows_of(f"SELECT count(*) FROM pg_class WHERE relname LIKE '{INDEX}%'") == [(0,)]


def test_an_index_of_customers_is_none_of_the_control_database(index):
    index.forwards("default")
    assert rows_of(f"SELECT count(*) FROM pg_class WHERE relname LIKE '{INDEX}%'", "default") == [(0,)]


def test_an_index_is_added_while_the_table_is_in_use(index):
    customers = add_customers(100, 50)
    stop, written, errors = threading.Event(), [], []

    def write():
        try:
            while not stop.is_set():
                customer_id = customers[len(written) % 50]
                with sharding.atomic(customer_id) as alias:
                    Note.objects.using(alias).create(customer_id=customer_id, author="zhang", text="x")
                written.append(customer_id)
        except Exception as error:
            errors.append(error)
        finally:
            connections.close_all()

    writer = threading.Thread(target=write)
    writer.start()
    index.forwards()
    count = len(written)
    stop.set()
    writer.join()
    assert errors == []
    assert count > 0
    assert is_complete()


def waiting_for(holder):
    """Return the pids of those who wait for a connection."""
    return [
        pid
        for (pid,) in rows_of(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
            f"AND {holder.info.backend_pid} = ANY (pg_blocking_pids(pid))"
        )
    ]


def test_an_interrupted_build_is_taken_up_again(index):
    errors = []

    def build():
        try:
            index.forwards()
        except DatabaseError as error:
            errors.append(str(error))
        finally:
            connections.close_all()

    builder = threading.Thread(target=build)
    with psycopg.connect(url_of("dept_100")) as holder:
        holder.execute("LOCK TABLE ONLY notes_3 IN ROW EXCLUSIVE MODE")  # as an open write to that partition does
        builder.start()
        while not (waiting := waiting_for(holder)):
            time.sleep(0.02)
        run("dept_100", f"SELECT pg_cancel_backend({waiting[0]})")
        builder.join()
    assert len(errors) == 1
    assert "canceling statement" in errors[0]
    assert not is_complete()
    assert f"the index {INDEX}_3 was never finished: run its migration again" in structure.find_problems(100)
    index.forwards()
    assert is_complete()
    assert structure.find_problems(100) == []


def test_an_index_gives_way_to_those_who_hold_the_table(index):
    """A long transaction must not make the index, and so everybody behind it, wait in line."""
    customer_id = add_customers(100, 1)[0]
    builder = threading.Thread(target=lambda: (index.forwards(), connections.close_all()))
    with psycopg.connect(url_of("dept_100")) as holder:
        holder.execute("LOCK TABLE ONLY notes IN ROW EXCLUSIVE MODE")
        builder.start()
        while not waiting_for(holder):
            time.sleep(0.02)
        with sharding.atomic(customer_id) as alias:  # comes after it, and is done long before it
            Note.objects.using(alias).create(customer_id=customer_id, author="zhang", text="x")
        assert builder.is_alive()
    builder.join()
    assert is_complete()


def test_an_invalid_index_of_a_partition_is_built_anew(index):
    index.forwards()
    run("dept_100", f"DROP INDEX {INDEX}")
    run("dept_100", f"CREATE INDEX {INDEX}_3 ON notes_3 (author)")
    run("dept_100", f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{INDEX}_3'::regclass")
    assert structure.find_problems(100) == [f"the index {INDEX}_3 was never finished: run its migration again"]
    index.forwards()
    assert is_complete()
    assert structure.find_problems(100) == []


def test_fillfactor_is_set_on_the_partitions(clean_databases):
    options = rows_of("SELECT relname, reloptions FROM pg_class WHERE relname ~ '^customers_[0-9]$' ORDER BY 1")
    assert [options for _, options in options] == [["fillfactor=45"]] * 10
    assert SetFillfactor("customers", 50).deconstruct() == ("SetFillfactor", ["customers", 50], {})


def test_department_sql_runs_in_department_databases_only(clean_databases):
    operation = DepartmentSQL("CREATE TABLE made_up ()", "DROP TABLE made_up")
    state = MigrationLoader(None).project_state()
    with connections["default"].schema_editor() as editor:
        operation.database_forwards("customers", editor, state, state)
    assert rows_of("SELECT to_regclass('made_up')", "default") == [(None,)]
    with schema_editor() as editor:
        operation.database_forwards("customers", editor, state, state)
    assert rows_of("SELECT to_regclass('made_up')::text") == [("made_up",)]
    with schema_editor() as editor:
        operation.database_backwards("customers", editor, state, state)
    assert rows_of("SELECT to_regclass('made_up')") == [(None,)]
