"""Orders of events that must be forced: each process waits where the test wants it, on a wire (lines)."""

from datetime import timedelta

import psycopg
import pytest

from customers.models import DirectoryEntry
from customers.sweep import sweep
from scrm.cache.scripts import FILL
from tests.customers.gates import BEHIND_A_LOCK
from tests.customers.people import addresses_of, state_of
from tests.databases import url_of
from tests.faults import crew
from tests.faults.stage import Actor, Stage, until

FILLING = FILL.sha.encode()
COMMIT = b"COMMIT"
OLD, NEW = {"made": 1}, {"made": 1, "a0": 1}
OPEN = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL "
    "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)
# Whether the cache loses everything in between.
PEOPLE = {"wm1": False, "wm1 flushed": True}


def parts(stage: Stage, key: str = "wm1") -> dict[str, int] | None:
    """What a reader is shown now, None if nobody."""
    shown, _ = stage.do(crew.look, key)
    return crew.parts_of(shown) if shown else None


def wait_for_lock_or_answer(actor: Actor) -> None:
    """Wait until a process has come as far as it can."""
    until(lambda: actor.is_done or ask_home_100(BEHIND_A_LOCK))


def wait_for_no_transaction() -> None:
    """Wait until what the dead have begun has come to an end."""
    until(lambda: not ask_home_100(OPEN))


def ask_home_100(question: str) -> int:
    with psycopg.connect(url_of("dept_100"), autocommit=True) as connection:
        row = connection.execute(question).fetchone()  # type: ignore[arg-type]
        assert row is not None
        return row[0]


# ------------------------------------------------------------------------------------------------------ fill and write
def test_fill_that_comes_after_a_write_is_refused(stage: Stage) -> None:
    """A reader has loaded; before its fill arrives somebody writes and is answered."""
    for key, flushes in PEOPLE.items():
        stage.make(key)
        line = stage.line_to("redis")
        line.hold_at(FILLING)
        reader = stage.begin(crew.look, key, redis=line)
        line.wait()
        assert stage.do(crew.put, key, "a0", 1) == "updated"
        if flushes:
            stage.redis.flushall()
        line.release()
        assert crew.parts_of(reader.answer()[0]) == OLD
        assert not stage.cached(key)
        assert parts(stage, key) == NEW
        stage.check_cached(key)


def test_fill_between_delete_and_commit_is_refused(stage: Stage) -> None:
    for key, flushes in PEOPLE.items():
        stage.make(key)
        cache, home = stage.line_to("redis"), stage.line_to("dept_100")
        cache.hold_at(FILLING)
        home.hold_at(COMMIT)
        reader = stage.begin(crew.look, key, redis=cache)
        cache.wait()
        writer = stage.begin(crew.put, key, "a0", 1, dept_100=home)
        home.wait()
        if flushes:
            stage.redis.flushall()
        cache.release()
        assert crew.parts_of(reader.answer()[0]) == OLD
        assert not stage.cached(key)
        # Who loads now finds the row locked: shows the old and keeps nothing.
        assert stage.do(crew.look, key)[1] == "miss"
        assert not stage.cached(key)
        home.release()
        assert writer.answer() == "updated"
        assert parts(stage, key) == NEW
        stage.check_cached(key)


@pytest.mark.parametrize("first", ["older", "newer"])
def test_of_two_fills_only_the_newer_one_stays(stage: Stage, first: str) -> None:
    stage.make("wm1")
    older, newer = stage.line_to("redis"), stage.line_to("redis")
    older.hold_at(FILLING)
    newer.hold_at(FILLING)
    readers = [stage.begin(crew.look, "wm1", redis=older)]
    older.wait()
    assert stage.do(crew.put, "wm1", "a0", 1) == "updated"
    readers.append(stage.begin(crew.look, "wm1", redis=newer))
    newer.wait()
    for line in (older, newer) if first == "older" else (newer, older):
        line.release()
    assert [crew.parts_of(reader.answer()[0]) for reader in readers] == [OLD, NEW]
    assert stage.do(crew.look, "wm1")[1] == "hit"
    assert parts(stage) == NEW
    stage.check_cached()


@pytest.mark.parametrize("late", [False, True], ids=["before the keeper", "after the keeper"])
def test_old_value_that_a_writer_could_not_delete_goes_with_the_keeper(stage: Stage, late: bool) -> None:
    """The writer's delete is lost, and a reader's fill with the old value is under way."""
    stage.make("wm1")
    reading, writing = stage.line_to("redis"), stage.line_to("redis")
    reading.hold_at(FILLING)
    writing.hold_at(b"DEL")
    reader = stage.begin(crew.look, "wm1", redis=reading)
    reading.wait()
    writer = stage.begin(crew.put, "wm1", "a0", 1, redis=writing)
    writing.wait()
    writing.cut()
    assert writer.answer() == "updated"
    assert len(stage.owed()) == 1
    if not late:
        reading.release()
        assert parts(stage) == OLD  # what is owed may be seen until the keeper has been
    assert stage.settle() == 0
    if late:
        reading.release()
        assert not stage.cached("wm1")
    assert crew.parts_of(reader.answer()[0]) == OLD
    assert parts(stage) == NEW
    stage.check_cached()


# ---------------------------------------------------------------------------------------------------- killed writers
# Where a writer is when it is killed: (line, word, whether the answer to it is held, what becomes of the word)
MOMENTS = {
    "before its delete": ("redis", b"DEL", False, "cut"),
    "delete arrives after its death": ("redis", b"DEL", False, "release"),
    "after its delete": ("redis", b"DEL", True, "release"),
    "before its commit": ("dept_100", COMMIT, False, "cut"),
    "commit arrives after its death": ("dept_100", COMMIT, False, "release"),
    "after its commit, before its answer": ("dept_100", COMMIT, True, "cut"),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_writer_leaves_nothing_stale(stage: Stage, moment: str) -> None:
    for key, flushes in PEOPLE.items():
        server, word, holds_answer, fate = MOMENTS[moment]
        stage.make(key)
        assert parts(stage, key) == OLD
        line = stage.line_to(server)
        line.hold_at(word, answer=holds_answer)
        writer = stage.begin(crew.put, key, "a0", 1, **{server: line})
        line.wait()
        writer.kill()
        if flushes:
            stage.redis.flushall()
        is_committed = word == COMMIT and holds_answer
        assert parts(stage, key) == (NEW if is_committed else OLD)
        getattr(line, fate)()
        wait_for_no_transaction()
        assert parts(stage, key) == (NEW if is_committed or (word == COMMIT and fate == "release") else OLD)
        stage.check_cached(key)
        assert stage.do(crew.put, key, "a0", 2) == "updated"
        assert parts(stage, key) == {"made": 1, "a0": 2}


# ------------------------------------------------------------------------------------------------ creation and erasure
def test_creation_deletes_that_there_was_nobody(stage: Stage) -> None:
    """A reader has found nobody; before it says so to Redis somebody is created and answered."""
    line = stage.line_to("redis")
    line.hold_at(FILLING)
    reader = stage.begin(crew.look, "wm1", redis=line)
    line.wait()
    assert stage.do(crew.put, "wm1", "made", 1, 100) == "created"
    line.release()
    assert reader.answer()[0] is None
    assert not stage.cached("wm1")
    assert parts(stage) == OLD


def test_nobody_is_not_kept_while_somebody_is_being_created(stage: Stage) -> None:
    assert stage.do(crew.look, "wm1") == (None, "miss")
    assert stage.do(crew.look, "wm1") == (None, "negative")
    line = stage.line_to("dept_100")
    line.hold_at(COMMIT, skip=1)  # the first ends the taking of an address
    creator = stage.begin(crew.put, "wm1", "made", 1, 100, dept_100=line)
    line.wait()
    assert stage.do(crew.look, "wm1") == (None, "miss")
    assert not stage.cached("wm1")
    line.release()
    assert creator.answer() == "created"
    assert parts(stage) == OLD


@pytest.mark.parametrize("holds_answer", [False, True], ids=["commit arrives after its death", "before its answer"])
def test_creation_of_a_killed_creator_is_nobodys_until_the_next_one(stage: Stage, holds_answer: bool) -> None:
    for key, flushes in PEOPLE.items():
        assert stage.do(crew.look, key) == (None, "miss")
        line = stage.line_to("dept_100")
        line.hold_at(COMMIT, skip=1, answer=holds_answer)
        creator = stage.begin(crew.put, key, "made", 1, 100, dept_100=line)
        line.wait()
        creator.kill()
        if flushes:
            stage.redis.flushall()
        assert stage.do(crew.look, key)[0] is None
        assert not stage.cached(key)
        next_one = stage.begin(crew.put, key, "a0", 1, 100)
        wait_for_lock_or_answer(next_one)
        line.release()
        assert next_one.answer() in ("created", "updated")
        assert parts(stage, key) == NEW
        assert len(addresses_of(key)) == 1
        stage.check_cached(key)


def test_fill_that_comes_after_an_erasure_is_refused(stage: Stage) -> None:
    stage.make("wm1")
    line = stage.line_to("redis")
    line.hold_at(FILLING)
    reader = stage.begin(crew.look, "wm1", redis=line)
    line.wait()
    stage.do(crew.request, "wm1")
    line.release()
    assert crew.parts_of(reader.answer()[0]) == OLD
    assert not stage.cached("wm1")
    assert stage.do(crew.look, "wm1")[0] is None
    assert stage.do(crew.erase, "wm1") == "done"
    assert stage.do(crew.look, "wm1")[0] is None
    stage.check_cached("wm1")


def test_change_that_comes_after_an_erasure_makes_nobody(stage: Stage) -> None:
    """A callback has found somebody in the directory; before it comes to the row they are erased, to the end."""
    stage.make("wm1")
    line = stage.line_to("dept_100")
    line.hold_at(b"FOR NO KEY UPDATE")
    change = stage.begin(crew.change, "wm1", "f0", 1, dept_100=line)
    line.wait()
    assert stage.do(crew.erase, "wm1") == "done"
    line.release()
    assert change.answer() == ["unknown_customer"]
    assert addresses_of("wm1") == []
    assert state_of("wm1") is None
    assert stage.do(crew.look, "wm1")[0] is None


# --------------------------------------------------------------------------------------------------------------- moves
def test_reader_who_lags_behind_a_move_finds_them(stage: Stage) -> None:
    """A reader has the old address; before it comes there they have moved out, and the directory does not say so."""
    stage.make("wm1")
    reading, moving = stage.line_to("dept_100"), stage.line_to("default")
    reading.hold_at(b"SKIP LOCKED")
    moving.hold_at(b"customer_aliases")
    reader = stage.begin(crew.look, "wm1", dept_100=reading)
    reading.wait()
    mover = stage.begin(crew.move, "wm1", 101, default=moving)
    moving.wait()
    reading.release()
    assert crew.parts_of(reader.answer()[0]) == OLD
    assert parts(stage) == OLD
    moving.release()
    mover.answer()
    assert parts(stage) == OLD
    stage.check_cached()


def test_fill_that_comes_after_a_move_is_refused(stage: Stage) -> None:
    stage.make("wm1")
    line = stage.line_to("redis")
    line.hold_at(FILLING)
    reader = stage.begin(crew.look, "wm1", redis=line)
    line.wait()
    moved_to = stage.do(crew.move, "wm1", 101)
    line.release()
    assert crew.parts_of(reader.answer()[0]) == OLD
    assert not stage.cached("wm1")
    assert stage.do(crew.look, "wm1")[0]["customer_id"] == moved_to
    stage.check_cached()


@pytest.mark.parametrize("home", [100, 101], ids=["leaving", "arriving"])
def test_commit_of_a_killed_mover_that_arrives_late_loses_nobody(stage: Stage, home: int) -> None:
    """The mover dies with a COMMIT on its way, and the next writer settles the move before it arrives."""
    stage.make("wm1")
    line = stage.line_to(f"dept_{home}")
    line.hold_at(COMMIT, skip=home - 100)  # at the new home the first ends the taking of an address
    mover = stage.begin(crew.move, "wm1", 101, **{f"dept_{home}": line})
    line.wait()
    mover.kill()
    writer = stage.begin(crew.put, "wm1", "a0", 1)
    wait_for_lock_or_answer(writer)
    line.release()
    assert writer.answer() == "updated"
    assert parts(stage) == NEW
    sweep(older_than=timedelta(0))
    (customer_id,) = addresses_of("wm1")
    assert DirectoryEntry.objects.get(external_userid="wm1").customer_id == customer_id
    assert parts(stage) == NEW
    stage.check_cached()
