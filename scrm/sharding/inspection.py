"""What is in the databases, and what is wrong there: for `shards`, `migrate_shards`, `doctor` and the admin.

    problem    broken or unsafe: a missing partition, a migration that is not applied, a sequence that would give an id
               twice. Deployments stop at it.
    remark     worth knowing: a closed home, a directory that differs from the tables (the sweep mends that).

Other apps add what they know: `add_directory` (who the control database says lives where), `add_check` (of one home).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from django.core import checks
from django.db import DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor

from scrm.sharding import structure
from scrm.sharding.databases import alias, cursor, shard_map
from scrm.sharding.errors import HomeUnavailableError
from scrm.sharding.fanout import fan_out
from scrm.sharding.ids import BUCKETS, PER_HOME
from scrm.sharding.models import Home


@dataclass(frozen=True)
class DirectoryFigures:
    """What the control database knows of one home.

    customers: settled ones. unsettled: being created, moved or erased, so in the tables or not.
    max_customer_id: the greatest that it has seen this home give, former addresses included; 0 for none.
    """

    customers: int = 0
    unsettled: int = 0
    max_customer_id: int = 0


@dataclass
class DatabaseState:
    """One database. error: why it cannot be asked, in words. pending: migrations that are not applied."""

    alias: str
    server: str
    is_reachable: bool = True
    error: str | None = None
    pending: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    size_bytes: int = 0


@dataclass
class HomeState(DatabaseState):
    """One department database.

    is_open: None when it is not registered. customers: {bucket: rows}, {} when they were not counted.
    last_number: the greatest that the sequence has given, None when there is no sequence.
    identity: the same for two homes that are one database, by whatever host names.
    """

    home: int = 0
    is_open: bool | None = None
    identity: str = ""
    customers: dict[int, int] = field(default_factory=dict)
    last_number: int | None = None
    max_customer_id: int = 0
    directory: DirectoryFigures | None = None

    @property
    def total(self) -> int:
        return sum(self.customers.values())

    @property
    def drift(self) -> int:
        """How many customers the tables have more than the directory accounts for; negative: fewer."""
        if self.directory is None or not self.customers:
            return 0
        beyond = self.total - self.directory.customers
        return min(beyond, 0) or max(beyond - self.directory.unsettled, 0)


@dataclass
class Inspection:
    """All databases. unknown_homes: registered ones that this process has no database for."""

    control: DatabaseState
    homes: list[HomeState]
    unknown_homes: list[int] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """Everything that is wrong, each line beginning with the database's alias."""
        return [f"{state.alias}: {problem}" for state in (self.control, *self.homes) for problem in state.problems]

    def as_json(self) -> dict[str, Any]:
        homes = [asdict(state) | {"total": state.total, "drift": state.drift} for state in self.homes]
        return {"control": asdict(self.control), "homes": homes, "unknown_homes": self.unknown_homes}


Directory = Callable[[], Mapping[int, DirectoryFigures]]
Check = Callable[[int], Iterable[str]]
_directories: list[Directory] = []
_checks: list[Check] = []


def add_directory(read: Directory) -> None:
    """Let an app say what the control database knows of each home. For AppConfig.ready()."""
    if read not in _directories:
        _directories.append(read)


def add_check(check: Check) -> None:
    """Let an app look at a home of its own: check(home) gives problems in words. For AppConfig.ready().

    It runs in a thread of its own; HomeUnavailableError is taken care of.
    """
    if check not in _checks:
        _checks.append(check)


def inspect(*, count: bool = True) -> Inspection:
    """Look at every database, several at once. count: rows too, which takes a scan of each customers table.

    Raises nothing for a database that is down or empty: its state says so.
    """
    control = _inspect_control()
    figures, is_open = {}, {}
    if control.is_reachable and not control.pending:
        figures = directory_figures()
        is_open = dict(Home.objects.values_list("home", "is_open"))
    found = fan_out(lambda home: inspect_home(home, count=count))
    homes = [found.results[home] for home in shard_map().homes]
    for state in homes:
        state.is_open = is_open.get(state.home)
        if _directories and control.is_reachable and not control.pending:
            state.directory = figures.get(state.home, DirectoryFigures())
        _judge(state)
    _find_shared_databases(homes)
    return Inspection(control, homes, sorted(home for home in is_open if home not in shard_map()))


def inspect_home(home: int, *, count: bool) -> HomeState:
    """Look at one home, without what only the control database knows of it."""
    name = alias(home)
    state = HomeState(name, server_of(name), home=home)
    try:
        _read_migrations(state)
        state.size_bytes = _read_one(name, "SELECT pg_database_size(current_database())")
        state.identity = structure.identity(home)
        if not state.pending:
            _read_tables(state, count=count)
    except HomeUnavailableError as error:
        state.is_reachable, state.error = False, explain(error)
        state.problems = [f"cannot be reached: {state.error}"]
    except DatabaseError as error:
        state.error = explain(error)
        state.problems.append(state.error)
    return state


def directory_figures() -> dict[int, DirectoryFigures]:
    """Return {home: what the directories know of it}. Database: the control database."""
    figures: dict[int, DirectoryFigures] = {}
    for read in _directories:
        figures.update(read())
    return figures


def server_of(name: str) -> str:
    """Return host:port/database of a database alias; never its password."""
    entry = connections[name].settings_dict
    return f"{entry['HOST'] or 'local socket'}:{entry['PORT'] or 5432}/{entry['NAME']}"


def explain(error: BaseException) -> str:
    """Return a database error as one line that an engineer can act on."""
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return (lines[0] if lines else type(cause).__name__).removeprefix("connection failed: ")


def _inspect_control() -> DatabaseState:
    state = DatabaseState("default", server_of("default"))
    try:
        _read_migrations(state)
        state.size_bytes = _read_one("default", "SELECT pg_database_size(current_database())")
        if not state.pending:
            # What was stored at the first migration must still be what the settings say, such as the time zone.
            found = checks.run_checks(tags=[checks.Tags.database], databases=["default"])
            state.problems += [f"{message.id}: {message.msg} {message.hint or ''}".strip() for message in found]
    except DatabaseError as error:
        state.is_reachable, state.error = False, explain(error)
        state.problems = [f"cannot be reached: {state.error}"]
    return state


def _read_one(name: str, query: str) -> Any:
    with connections[name].cursor() as rows:
        rows.execute(query)
        return rows.fetchone()[0]


def _read_migrations(state: DatabaseState) -> None:
    executor = MigrationExecutor(connections[state.alias])
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    state.pending = [f"{migration.app_label}.{migration.name}" for migration, _ in plan]
    if state.pending:
        state.problems.append(f"{len(state.pending)} migrations are not applied: run `manage.py migrate_shards`")
    unknown = set(executor.loader.applied_migrations or ()) - set(executor.loader.disk_migrations or ())
    if replaced := executor.loader.replacements:
        unknown -= {name for migration in replaced.values() for name in migration.replaces}
    if unknown:
        names = ", ".join(sorted(f"{app}.{name}" for app, name in unknown))
        state.remarks.append(f"has migrations that this code does not know ({names}): older code is running")


def _read_tables(state: HomeState, *, count: bool) -> None:
    state.problems += structure.find_problems(state.home)
    for check in _checks:
        state.problems += check(state.home)
    with cursor(state.home) as rows:
        rows.execute("SELECT min(customer_id), max(customer_id) FROM customers")
        smallest, largest = rows.fetchone()
        state.max_customer_id = largest or 0
        # After the greatest id, or one given in between would look like one that the sequence is still to give.
        state.last_number = structure.find_last_number(state.home)
        strangers = {value // PER_HOME for value in (smallest, largest) if value} - {state.home}
        if strangers:
            state.problems.append(
                f"holds customers of home {', '.join(map(str, sorted(strangers)))}: "
                "DEPARTMENT_DATABASES gives this home the database of another"
            )
        if count:
            state.customers = dict.fromkeys(range(BUCKETS), 0)
            rows.execute("SELECT bucket, count(*) FROM customers GROUP BY bucket")
            state.customers |= dict(rows.fetchall())


def _judge(state: HomeState) -> None:
    if not state.is_reachable or state.pending:
        return
    given = max(state.max_customer_id, state.directory.max_customer_id if state.directory else 0) % PER_HOME
    if state.last_number is not None and given > state.last_number:
        state.problems.append(
            f"the sequence of customer_ids is at {state.last_number}, but {given} has been given: "
            "run `manage.py migrate_shards`, which moves it on, before anybody is created"
        )
    if state.is_open is None:
        state.remarks.append("is not registered: run `manage.py migrate_shards`")
    elif not state.is_open:
        state.remarks.append(f"takes no new customers until `manage.py shards open {state.home}`")
    if state.drift:
        where = "the tables have more" if state.drift > 0 else "the directory has more"
        state.remarks.append(f"{where} customers, by {abs(state.drift)}: the sweep mends it after ten minutes")


def _find_shared_databases(homes: list[HomeState]) -> None:
    seen: dict[str, int] = {}
    for state in homes:
        first = seen.setdefault(state.identity, state.home) if state.identity else state.home
        if first != state.home:
            state.problems.append(f"is the same database as that of home {first}")
