"""The phases of a run after the first: killed anywhere, repeated, doubled, with a home down, the same comes out."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection, connections

from profiles import alone, claims, runs, tasks
from profiles.models import DailyFigure, ProfileRun, RunClaim
from scrm import sharding
from scrm.held import forget_all
from tests.customers.gates import PATIENCE_SECONDS, Process, gate
from tests.databases import url_of
from tests.profiles.nights import TODAY, run
from tests.profiles.test_runs_crashes import age
from tests.profiles.worths import buyers, facts, scores, without_run
from tests.servers import PrivatePostgres

COUNT = 400


@pytest.fixture(autouse=True)
def _real_databases(clean_databases: None) -> None:
    forget_all()


@pytest.fixture
def base() -> None:
    for home in (100, 101):
        buyers(home, COUNT, as_of=TODAY)


def age_step(run_: ProfileRun) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE profiles_profilerun SET fit_heartbeat = fit_heartbeat - interval '31 seconds' WHERE id = %s",
            [run_.pk],
        )


def classify_all(run_: ProfileRun) -> None:
    """Do the first phase of all but the last claim, so that nobody fits."""
    for home in (100, 101):
        for bucket in range(10):
            if (home, bucket) != (101, 9):
                assert runs.work(run_.pk, home, bucket)


def assert_whole(run_: ProfileRun) -> None:
    """What there is, is what an undisturbed run makes of it: a full one now writes nothing."""
    run_.refresh_from_db()
    assert run_.state == "done", run_.summary
    assert run_.phase == 4
    assert run_.fit_token is None
    found = scores()
    assert len(found) == 2 * COUNT
    assert run_.summary["scored"] == 2 * COUNT
    assert {row["run_id"] for row in found.values()} == {run_.pk}
    assert facts("rfm_segment") == []  # the first is no change
    assert run_.value_model is not None
    assert "r" in run_.value_model, run_.value_model
    views = [view for home in (100, 101) for view in claims.views(run_.pk, home)]
    assert {(view.state, view.phase) for view in views} == {("done", 3)}
    again = run(full=True)
    assert (again.rfm, again.value_model) == (run_.rfm, run_.value_model)
    assert again.summary["scored"] == 0
    assert scores() == found


@pytest.mark.usefixtures("base")
def test_an_undisturbed_run_goes_through_its_phases() -> None:
    done = run()
    assert_whole(done)
    phases = done.summary["phases"]
    assert set(phases) == {"classify", "fit", "preparation", "score", "act", "figures"}
    assert done.summary["homes"]["100"]["phases"].keys() == {"classify", "score", "act"}
    assert done.summary["fitted_without"] == []
    assert done.summary["figures_of"] == [100, 101]


# -------------------------------------------------------------------------------------------------------------- killed
@pytest.mark.usefixtures("base")
@pytest.mark.parametrize(
    ("where", "is_step"),
    [
        # The fit is made, and not stored.
        (("default", "profiles_profilerun", "UPDATE", "OLD.phase = 1 AND NEW.phase = 2"), True),
        # Stored; one home may have its second phase opened, the other has not.
        (("dept_101", "run_claims", "UPDATE", "OLD.phase = 1 AND NEW.phase = 2"), False),
        (("dept_100", "run_claims", "UPDATE", "OLD.phase = 1 AND NEW.phase = 2"), False),
        # In the middle of scores; at the end of the second phase of a claim; of its third.
        (("dept_101", "customer_scores", "INSERT", "NEW.customer_id = 1010000000203"), False),
        (("dept_101", "run_claims", "UPDATE", "OLD.phase = 2 AND NEW.phase = 3 AND NEW.bucket = 5"), False),
        (("dept_101", "run_claims", "UPDATE", "OLD.phase = 3 AND NEW.state = 'done' AND NEW.bucket = 5"), False),
        # While figures are kept, and before the run is ended.
        (("default", "daily_figures", "INSERT", ""), True),
        (("default", "profiles_profilerun", "UPDATE", "OLD.state = 'running' AND NEW.state = 'done'"), False),
    ],
)
def test_killed_anywhere_the_outcome_is_the_same(where: tuple[str, str, str, str], is_step: bool) -> None:
    begun = runs.start_run("manual", TODAY)
    with gate(*where) as shut:
        worker = Process(lambda: runs.run_all(begun))
        shut.kill(worker)
    begun.refresh_from_db()
    assert begun.state == "running"
    if is_step:
        assert begun.fit_token is not None
        assert runs.finish(begun) is False  # it is not silent yet
        runs.resume(begun)
        assert begun.is_step_due is False
        age_step(begun)
        runs.resume(begun)
        assert begun.is_step_due is True
    for home in (100, 101):
        age(home)
    runs.run_all(begun)
    assert_whole(begun)


@pytest.mark.usefixtures("base")
def test_resume_and_a_worker_bring_a_run_on_without_its_starter() -> None:
    begun = runs.start_run("manual", TODAY)
    classify_all(begun)
    assert len(runs.resume(begun)) == 1
    assert not begun.is_step_due
    # Its last claim is done by somebody who dies before the fit.
    with gate("default", "profiles_profilerun", "UPDATE", "NEW.fit_token IS NOT NULL") as shut:
        worker = Process(lambda: runs.work(begun.pk, 101, 9))
        shut.kill(worker)
    assert runs.resume(begun) == []
    assert begun.is_step_due
    told: list[Any] = []
    assert runs.finish(begun, wake=lambda run_, found: told.extend(found)) is False
    assert sorted(told) == [(home, bucket) for home in (100, 101) for bucket in range(10)]
    assert begun.phase == 2
    for home, bucket in told:
        runs.work(begun.pk, home, bucket)
    assert_whole(begun)


@pytest.mark.usefixtures("base")
def test_a_fit_that_kills_its_workers_is_given_up_and_classes_stay() -> None:
    begun = runs.start_run("manual", TODAY)
    classify_all(begun)
    ProfileRun.objects.update(fit_attempts=alone.MAX_ATTEMPTS - 2)
    with gate("default", "profiles_profilerun", "UPDATE", "OLD.phase = 1 AND NEW.phase = 2") as shut:
        shut.kill(Process(lambda: runs.run_all(begun)))
    begun.refresh_from_db()
    assert (begun.phase, begun.fit_attempts) == (1, alone.MAX_ATTEMPTS - 1)
    age_step(begun)
    runs.run_all(begun)
    assert begun.state == "partial"
    assert begun.summary["fit_error"] == "RuntimeError: Its workers stopped without a word."
    assert begun.summary["preparation_error"] == "RuntimeError: Its workers stopped without a word."
    assert begun.summary["figures_of"] == [100, 101]  # the attempts were those of the step before
    assert begun.summary["judged"] == 2 * COUNT
    assert scores() == {}
    assert (begun.rfm, begun.value_model) == (None, None)


@pytest.mark.usefixtures("base")
def test_a_fit_that_fails_leaves_classes_scores_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    run()
    before = scores()
    rename = "ALTER TABLE running_totals RENAME COLUMN {} TO {}"
    with sharding.atomic_home(100), sharding.cursor(100) as cursor:
        cursor.execute(rename.format("first_purchase_day", "mislaid"))
    try:
        begun = runs.run_all(runs.start_run("manual", TODAY, full=True))
    finally:
        with sharding.atomic_home(100), sharding.cursor(100) as cursor:
            cursor.execute(rename.format("mislaid", "first_purchase_day"))
    assert begun.state == "partial"
    assert begun.summary["fit_error"].startswith("ProgrammingError: column r.first_purchase_day does not exist")
    logged = [str(record.msg) for record in caplog.records if record.name == "profiles.steps"]
    # A bug is not tried again: the fit failed once, and so did the figures, which read the column too.
    assert ["'fit'" in line for line in logged if "'run_step_failed'" in line] == [True, False]
    assert "'run_step_broke'" not in "".join(logged)
    assert (begun.summary["judged"], begun.summary["failed"]) == (2 * COUNT, [])
    assert scores() == before


# -------------------------------------------------------------------------------------------------------------- broken
class Stuck:
    """Somebody who waits for the lock on a table, which the test holds."""

    def __init__(self, holder: psycopg.Connection, table: str) -> None:
        self._holder, self._table = holder, table

    def wait_for(self, process: Process) -> int:
        """Wait until somebody waits. Returns the process id of their connection."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            found = self._holder.execute(
                "SELECT pid FROM pg_locks WHERE NOT granted AND relation = %s::regclass", [self._table]
            ).fetchone()
            if found:
                return int(found[0])
            assert not process.is_done, f"It ended before it came to {self._table}: {process.answer()}"
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def end(self, function: str, pid: int) -> None:
        self._holder.execute(f"SELECT {function}(%s)", [pid])  # type: ignore[arg-type]


@contextmanager
def stuck(alias: str, table: str) -> Iterator[Stuck]:
    """Hold a table, so that whoever reads it is stopped in the middle of what it reads."""
    with psycopg.connect(url_of(alias)) as holder:
        holder.execute(f"LOCK TABLE {table}")  # type: ignore[arg-type]
        yield Stuck(holder, table)
        holder.rollback()


def end_everybody_on_control() -> None:
    with psycopg.connect(url_of("default"), autocommit=True) as connection_:
        connection_.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.mark.usefixtures("base")
def test_a_connection_that_breaks_in_the_middle_of_the_fit_costs_nothing() -> None:
    begun = runs.start_run("manual", TODAY)
    classify_all(begun)
    worker = Process(lambda: runs.run_all(begun))
    with stuck("dept_101", "running_totals_5") as held:  # the fit has read buckets 0 to 4
        held.end("pg_terminate_backend", held.wait_for(worker))
    worker.answer()
    assert_whole(begun)
    assert begun.summary["fitted_without"] == []


@pytest.mark.usefixtures("base")
def test_the_control_database_may_end_all_connections_while_a_step_is_done() -> None:
    begun = runs.start_run("manual", TODAY)
    classify_all(begun)
    worker = Process(lambda: runs.run_all(begun))
    with stuck("dept_100", "customer_items") as held:  # the fit is made, what is bought together is counted
        held.wait_for(worker)
        end_everybody_on_control()
    with gate("default", "daily_figures", "INSERT") as shut:
        shut.wait_for(worker)
        with psycopg.connect(url_of("default"), autocommit=True) as control:
            control.execute("SELECT pg_terminate_backend(%s, 5000)", shut.waiting())
    worker.answer()
    connections.close_all()
    assert_whole(begun)
    assert (begun.summary["fitted_without"], begun.summary["figures_error"]) == ([], "")
    assert begun.summary["recommendations"]["affinities"]["unavailable"] == []


@pytest.mark.usefixtures("base")
@pytest.mark.parametrize(
    ("ending", "state", "notes"),
    [
        ("pg_cancel_backend", "partial", {"fit_error": "OperationalError: canceling statement due to user request"}),
        ("pg_terminate_backend", "done", {"fitted_without": [101]}),
    ],
)
def test_what_breaks_each_time_is_given_up(ending: str, state: str, notes: dict[str, Any]) -> None:
    begun = runs.start_run("manual", TODAY)
    classify_all(begun)
    ProfileRun.objects.update(fit_attempts=alone.MAX_ATTEMPTS - 2)
    worker = Process(lambda: runs.run_all(begun))
    with stuck("dept_101", "running_totals_5") as held:
        held.end(ending, held.wait_for(worker))
    worker.answer()
    begun.refresh_from_db()
    assert begun.state == state
    found = {name: str(value).strip() if name == "fit_error" else value for name, value in begun.summary.items()}
    assert {name: found.get(name) for name in ("fit_error", "fitted_without") if name in found} == notes
    assert begun.summary["judged"] == 2 * COUNT
    assert begun.summary["figures_of"] == [100, 101]
    assert len(scores()) == (2 * COUNT if state == "done" else 0)


@pytest.mark.usefixtures("base")
def test_figures_that_break_each_time_end_with_their_error_and_once() -> None:
    begun = runs.start_run("manual", TODAY)
    classify_all(begun)
    runs.work(begun.pk, 101, 9)
    assert ProfileRun.objects.filter(phase=2, fit_attempts=0).update(fit_attempts=alone.MAX_ATTEMPTS - 2) == 1
    worker = Process(lambda: runs.run_all(begun))
    with gate("default", "daily_figures", "INSERT") as shut:
        shut.wait_for(worker)
        with psycopg.connect(url_of("default"), autocommit=True) as control:
            control.execute("SELECT pg_terminate_backend(%s, 5000)", shut.waiting())
        worker.answer()  # it does not come to the gate again
    begun.refresh_from_db()
    assert (begun.state, begun.phase, begun.fit_token) == ("done", 4, None)
    assert begun.summary["figures_error"].startswith("OperationalError: terminating connection")
    assert begun.summary["figures_of"] == [100, 101]  # they are not due again
    assert DailyFigure.objects.count() == 0
    assert len(scores()) == 2 * COUNT


# ------------------------------------------------------------------------------------------------------------- doubled
@pytest.mark.usefixtures("base")
def test_of_many_who_work_at_once_each_thing_is_done_once() -> None:
    processes = [Process(_work_on_all) for _ in range(3)]
    for process in processes:
        process.answer()
    assert_whole(ProfileRun.objects.get())


def _work_on_all() -> None:
    runs.run_all(runs.start_run("nightly", TODAY))


@pytest.mark.usefixtures("base")
def test_who_was_replaced_while_it_slept_stores_nothing() -> None:
    begun = runs.start_run("manual", TODAY)
    with alone.taken(begun) as first:
        assert first is not None
        age_step(begun)
        with alone.taken(begun) as second:
            assert second is not None
            with pytest.raises(alone.StepLostError):
                first.end(2, rfm={"wrong": True})
        with alone.taken(begun) as third:
            assert third is None  # the second has it still
    begun.refresh_from_db()
    assert (begun.phase, begun.rfm) == (1, None)


def test_workers_that_are_restarted_do_not_use_up_the_attempts() -> None:
    begun = runs.start_run("manual", TODAY)
    for ending, attempts in ((SystemExit, 0), (KeyboardInterrupt, 0), (OSError, 1)):
        with pytest.raises(ending), alone.taken(begun):
            raise ending
        begun.refresh_from_db()
        assert (begun.fit_token, begun.fit_attempts) == (None, attempts)


@pytest.mark.usefixtures("base")
def test_an_overtaken_run_opens_nothing() -> None:
    night = runs.start_run("nightly", TODAY)
    classify_all(night)
    assert runs.start_run("manual", TODAY).pk == night.pk
    tonight = runs.start_run("nightly", TODAY + timedelta(days=1))
    assert tonight.is_new
    ProfileRun.objects.filter(pk=night.pk).update(phase=2)
    claims.make(night.pk, 100, only_report=False, second=True)
    assert {row.phase for row in RunClaim.objects.using("dept_100").filter(run_id=night.pk)} == {1}
    runs.run_all(tonight)
    assert tonight.state == "done"
    assert len(scores()) == 2 * COUNT


# --------------------------------------------------------------------------------------------------------- homes down
@pytest.mark.usefixtures("base")
def test_a_home_that_is_down_is_left_out_of_the_fit_and_scored_when_it_is_back(
    fragile_department: PrivatePostgres,
) -> None:
    buyers(101, COUNT, as_of=TODAY)  # this dept_101 is another one
    connections.close_all()
    fragile_department.stop()
    begun = runs.run_all(runs.start_run("nightly", TODAY))
    assert (begun.state, begun.phase) == ("running", 4)
    assert begun.summary["fitted_without"] == [101]
    assert begun.summary["figures_of"] == [100]
    assert begun.value_model is not None
    assert begun.value_model["customers"] == COUNT
    before = scores((100,))
    assert len(before) == COUNT
    fragile_department.start()
    time.sleep(1.1)
    runs.run_all(begun)
    assert begun.state == "done"
    assert begun.value_model["customers"] == COUNT  # the run's parameters stay
    assert begun.summary["figures_of"] == [100, 101]
    assert scores((100,)) == before
    assert len(scores((101,))) == COUNT
    assert run().value_model["customers"] == 2 * COUNT  # type: ignore[index]


@pytest.mark.usefixtures("base")
def test_a_home_that_goes_down_while_it_is_read_is_left_out_after_a_second_look(
    fragile_department: PrivatePostgres,
) -> None:
    buyers(101, COUNT, as_of=TODAY)
    begun = runs.start_run("nightly", TODAY)
    classify_all(begun)
    worker = Process(lambda: runs.run_all(begun))
    with pytest.raises(psycopg.OperationalError), stuck("dept_101", "running_totals_5") as held:  # noqa: PT012
        held.wait_for(worker)
        fragile_department.stop()
    worker.answer()
    begun.refresh_from_db()
    assert (begun.state, begun.phase, begun.summary["fitted_without"]) == ("running", 4, [101])
    assert begun.value_model is not None
    assert begun.value_model["customers"] == COUNT
    fragile_department.start()
    time.sleep(1.1)
    runs.run_all(begun)
    assert begun.state == "done"
    assert len(scores()) == 2 * COUNT


# ------------------------------------------------------------------------------------------------------------ reports
@pytest.mark.usefixtures("base")
@pytest.mark.parametrize("start", [lambda: run(TODAY, "backtest"), lambda: run(TODAY - timedelta(days=40))])
def test_a_run_that_reports_fits_and_changes_nothing(start: Callable[[], ProfileRun]) -> None:
    run()
    before = scores(), facts()
    reported = start()
    assert (reported.state, reported.phase) == ("done", 2)
    assert reported.value_model is not None
    assert reported.rfm is not None
    assert reported.rfm["company"]["customers"] > 0
    assert "figures_of" not in reported.summary
    assert (scores(), facts()) == before
    views = [view for home in (100, 101) for view in claims.views(reported.pk, home)]
    assert {(view.state, view.phase, view.mode) for view in views} == {("done", 1, "report")}


@pytest.mark.usefixtures("base")
def test_yesterday_by_days_is_what_yesterday_by_totals_was() -> None:
    earlier = TODAY - timedelta(days=1)
    by_totals = run(earlier)
    for home in (100, 101):
        with sharding.atomic_home(home), sharding.cursor(home) as cursor:
            # Something on the day itself: from now on yesterday must be told from the days.
            cursor.execute(
                "INSERT INTO daily_totals (customer_id, bucket, day, purchase_count, purchase_amount, refund_count, "
                "refund_amount, interaction_count) SELECT customer_id, bucket, %s, 1, 99, 0, 0, 0 FROM customers "
                "ON CONFLICT DO NOTHING", [TODAY],
            )  # fmt: skip
            cursor.execute(
                "UPDATE running_totals SET last_day = %s, purchase_count = purchase_count + 1, purchase_amount = "
                "purchase_amount + 99, purchase_days = purchase_days + 1, last_purchase_at = %s", [TODAY, TODAY],
            )  # fmt: skip
    by_days = run(earlier, "backtest")
    assert by_days.rfm == by_totals.rfm
    assert by_days.value_model == by_totals.value_model
    again = run(earlier, full=True)
    assert again.summary["scored"] == 0


def test_tasks_wake_each_other(broker_client: Any) -> None:
    buyers(100, 50, as_of=date(2026, 11, 20))
    begun = tasks.launch("manual", TODAY)
    assert broker_client.llen("celery") == 20
    broker_client.delete("celery")
    for home in (100, 101):
        for bucket in range(10):
            tasks.work_claim(begun.pk, home, bucket)
    assert broker_client.llen("celery") == 20  # the last one has fitted, opened the second phase and told of it
    tasks.take_step(begun.pk)
    for home in (100, 101):
        for bucket in range(10):
            tasks.work_claim(begun.pk, home, bucket)
    begun.refresh_from_db()
    assert begun.state == "done"
    assert without_run(scores())
