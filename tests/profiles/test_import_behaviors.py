"""manage.py import_behaviors: the whole way from a file to totals, cut off, repeated, with bad rows."""

import csv
import gzip
import io
import os
import threading
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from customers import directory, erasure
from customers.imports import jobs
from customers.models import ImportProgress
from profiles import importing
from profiles.models import Behaviour
from scrm import sharding
from scrm.held import forget_all
from tests.customers.gates import Process, gate
from tests.profiles.behaviours import days_of, people, raw_of, record, refund, rows_everywhere, running_of
from tests.servers import PrivatePostgres

D = Decimal
HEADER = "event_id,external_userid,kind,channel,amount,occurred_at"


@pytest.fixture(autouse=True)
def _real_databases(clean_databases: None) -> None:
    forget_all()


def write(path: Path, *rows: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return path


def purchases(count: int, *, per_person: int = 10, first: int = 0) -> list[str]:
    return [
        f"p{number},wm{number // per_person:05},purchase,store,1.25,2026-11-20T12:00:00+08:00"
        for number in range(first, first + count)
    ]


def run(path: Path, **options: Any) -> str:
    output = io.StringIO()
    call_command("import_behaviors", path, stdout=output, stderr=io.StringIO(), **options)
    return output.getvalue()


def counts() -> dict[str, int]:
    return ImportProgress.objects.get().counts


def rejected(path: Path) -> list[dict[str, str]]:
    with path.with_name(f"{path.name}.rejected.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def total() -> Decimal:
    return sum(
        (
            amount
            for home in sharding.shard_map().homes
            for amount in Behaviour.objects.using(sharding.alias(home)).values_list("amount", flat=True)
        ),
        D(0),
    )


def test_a_file_is_imported_and_its_customers_are_created(tmp_path: Path) -> None:
    path = write(
        tmp_path / "shop.csv",
        "p1,wmA,purchase,store,29.33,2026-11-20T12:00:00+08:00,,101,\"{\"\"sku\"\": \"\"茶\"\"}\"",
        "i1,wmA,interaction,wecom,,2026-11-21 09:30,,,",
        "r1,wmA,refund,store,,2026/11/22 8:05,p1,,",
        "p1,wmB,purchase,store,5,1990/1/1,,,",
        header=f"{HEADER},refers_to,home,detail",
    )  # fmt: skip
    output = run(path)
    there = directory.addresses(["wmA", "wmB"])
    assert sharding.home_of(there["wmA"]) == 101
    assert days_of(there["wmA"]) == {
        date(2026, 11, 20): (1, D("29.33"), 0, D("0.00"), 0),
        date(2026, 11, 21): (0, D("0.00"), 0, D("0.00"), 1),
        date(2026, 11, 22): (0, D("0.00"), 1, D("29.33"), 0),
    }
    assert raw_of(there["wmA"])["p1"]["detail"] == {"sku": "茶"}
    assert raw_of(there["wmA"])["p1"]["source"] == "import"
    assert list(days_of(there["wmB"])) == [date(1990, 1, 1)]
    assert counts() == {"accepted": 4, "created": 2}
    assert [line.split()[1::2] for line in output.splitlines() if "新增行为" in line or "拒绝" in line] == [
        ["新增行为", "4"], ["拒绝", "0"],
    ]  # fmt: skip
    assert os.listdir(tmp_path) == ["shop.csv"]


def test_again_changes_nothing_under_any_name_and_packed(tmp_path: Path) -> None:
    path = write(tmp_path / "one.csv", *purchases(120))
    run(path)
    before = rows_everywhere()
    assert (before["behaviours"], total()) == (120, D("150.00"))
    packed = tmp_path / "other.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for again in (path, packed):
        run(again)
        assert rows_everywhere() == before
        assert ImportProgress.objects.get(file_name=again.name).counts == {"duplicates": 120}
    run(path, source="erp")
    assert rows_everywhere()["behaviours"] == 240


def test_bad_rows_are_put_beside_the_file_and_can_be_mended_there(tmp_path: Path) -> None:
    record_before = write(tmp_path / "before.csv", "p1,wmA,purchase,store,1,2026-11-20")
    run(record_before)
    good = "p{},wmA,purchase,store,10,2026-11-20T12:00:00+08:00"
    path = write(
        tmp_path / "shop.csv",
        good.format(2),
        "p3,wmA,purchase,store,1e999,2026-11-20T12:00:00+08:00",
        "p4,wmA,purchase,store,1",
        "p1,wmA,purchase,store,2,2026-11-20",
        'p5,"wmA,purchase,store,1,2026-11-20',
        "p6,wmA,purchase,store,1,0000-01-01",
        "p7,wmA,purchase,store,1,2999-01-01",
        "r1,wmA,refund,store,99,2026-11-21",
        "\x00",
        good.format(8),
    )
    output = run(path)
    assert f"{path}.rejected.csv" in output
    assert (tmp_path / "shop.csv.rejected.csv").stat().st_mode & 0o777 == 0o600
    assert [(row["line"], row["code"]) for row in rejected(path)] == [
        ("3", "invalid_amount"), ("4", "wrong_columns"), ("5", "event_id_conflict"), ("6", "malformed_row"),
        ("7", "invalid_occurred_at"), ("8", "occurred_at_out_of_range"), ("9", "invalid_refers_to"),
        ("10", "nul_character"),
    ]  # fmt: skip
    first = rejected(path)[0]
    assert first["event_id"] == "p3"
    assert first["amount"] == "1e999"
    assert first["message"].startswith("amount is a decimal")
    assert not list(tmp_path.glob("*.part"))
    mended = tmp_path / "mended.csv"
    lines = (tmp_path / "shop.csv.rejected.csv").read_text(encoding="utf-8-sig").splitlines()
    mended.write_text("\n".join(lines[:2]).replace("1e999", "7"), encoding="utf-8-sig")
    run(mended)
    (wm_a,) = directory.addresses(["wmA"]).values()
    assert running_of(wm_a)[:2] == (4, D("28.00"))


def test_the_file_of_bad_rows_is_that_of_the_last_import(tmp_path: Path) -> None:
    path = write(tmp_path / "shop.csv", "p1,wmA,purchase,store,x,2026-11-20")
    run(path)
    assert len(rejected(path)) == 1
    run(path)
    assert len(rejected(path)) == 1
    write(path, "p1,wmA,purchase,store,1,2026-11-20")
    run(path)
    assert os.listdir(tmp_path) == ["shop.csv"]
    elsewhere = tmp_path / "elsewhere.csv"
    write(path, "p2,wmA,purchase,store,x,2026-11-20")
    run(path, rejected=elsewhere)
    assert elsewhere.exists()
    assert not (tmp_path / "shop.csv.rejected.csv").exists()


def test_the_erased_stay_erased(tmp_path: Path) -> None:
    people("wmA")
    erasure.run_erasure(erasure.request_erasure("wmA", actor="test").id)
    path = write(tmp_path / "shop.csv", "p1,wmA,purchase,store,1,2026-11-20", "p1,wmB,purchase,store,1,2026-11-20")
    run(path)
    assert [row["code"] for row in rejected(path)] == ["erased"]
    assert directory.find("wmA") is None
    assert rows_everywhere()["behaviours"] == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("event_id,kind\n1,purchase\n", "has no column external_userid, channel, amount, occurred_at"),
        ("", "is empty"),
        (None, "No such file"),
    ],
)
def test_a_file_of_another_kind_changes_nothing(tmp_path: Path, content: str | None, says: str) -> None:
    path = tmp_path / "shop.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(CommandError, match=says):
        run(path)
    assert set(rows_everywhere().values()) == {0}
    assert not ImportProgress.objects.exists()
    assert not list(tmp_path.glob("*.rejected*"))


def test_gbk_needs_to_be_said(tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    path.write_bytes(f"{HEADER},备注\np1,wmA,purchase,store,1,2026-11-20,王\n".encode("gbk"))
    with pytest.raises(CommandError, match="--encoding gb18030"):
        run(path)
    run(path, encoding="gb18030")
    assert counts() == {"accepted": 1, "created": 1}


def test_a_source_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="--source"):
        run(write(tmp_path / "shop.csv"), source="")


# ------------------------------------------------------------------------------------------------------------- resumed
class _KilledError(BaseException):
    """Stands for a process that ends at once."""


def test_a_file_is_taken_up_where_it_was_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "CHUNK_ROWS", 10)
    rows = purchases(100)
    rows[3] = rows[3].replace("1.25", "x")
    rows[33] = rows[33].replace("1.25", "y")
    path = write(tmp_path / "shop.csv", *rows)
    real, seen = importing.record_behaviours, []

    def until_killed(items: Any, **more: Any) -> Any:
        seen.append(len(items))
        done = real(items, **more)
        if len(seen) == 5:
            raise _KilledError  # after the chunk, before its place is kept
        return done

    monkeypatch.setattr(importing, "record_behaviours", until_killed)
    with pytest.raises(_KilledError):
        run(path)
    progress = ImportProgress.objects.get()
    assert (progress.lines, progress.finished_at, progress.counts["accepted"]) == (41, None, 38)
    # What was written after the place was kept, half a row of it, must not stay.
    with (tmp_path / "shop.csv.rejected.csv.part").open("ab") as part:
        part.write(b"99,half a r")
    output = run(path)
    assert seen[5:] == [10] * 6
    assert "41" in next(line for line in output.splitlines() if "续传" in line)
    assert [row["line"] for row in rejected(path)] == ["5", "35"]
    assert counts() == {"accepted": 88, "duplicates": 10, "created": 9, "rejected": 2}
    assert (rows_everywhere()["behaviours"], total()) == (98, D("122.50"))
    run(path)
    assert len(seen) == 21, "an import that has ended begins anew"


def test_restart_begins_at_the_first_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "CHUNK_ROWS", 10)
    path = write(tmp_path / "shop.csv", *purchases(30))
    run(path)
    ImportProgress.objects.update(finished_at=None, lines=21, counts={"accepted": 20})
    run(path, restart=True)
    assert counts() == {"duplicates": 30}


def test_a_changed_file_and_a_lost_file_of_rejects_begin_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "shop.csv", *purchases(30))
    run(path)
    ImportProgress.objects.update(finished_at=None, lines=21, counts={"accepted": 20}, rejected_bytes=100)
    run(path)
    assert counts() == {"duplicates": 30}
    ImportProgress.objects.update(finished_at=None, lines=21, counts={"accepted": 20})
    write(path, *purchases(31))
    run(path)
    assert ImportProgress.objects.order_by("-id").first().counts == {"accepted": 1, "duplicates": 30, "created": 1}


def test_a_killed_import_loses_and_doubles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "CHUNK_ROWS", 100)
    path = write(tmp_path / "shop.csv", *purchases(1_000), "p777,wmX,purchase,store,1.25,2026-11-20")
    people("wm00077", home=100)
    with gate("dept_100", "behaviours", "INSERT", "NEW.event_id = 'p777'") as shut:
        shut.kill(Process(lambda: run(path)))
    assert ImportProgress.objects.get().lines == 701
    run(path)
    assert rows_everywhere()["behaviours"] == 1_001
    assert total() == D("1251.25")
    ids = directory.addresses([f"wm{number:05}" for number in range(100)])
    assert {running_of(customer_id)[:2] for customer_id in ids.values()} == {(10, D("12.50"))}
    assert ImportProgress.objects.get().finished_at is not None


def test_two_imports_of_one_file_at_once_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "shop.csv", *purchases(5))
    real, refused = importing.record_behaviours, []

    def meanwhile(items: Any, **more: Any) -> Any:
        with pytest.raises(CommandError) as caught:
            run(path)
        refused.append(str(caught.value))
        return real(items, **more)

    monkeypatch.setattr(importing, "record_behaviours", meanwhile)
    run(path)
    assert refused == [f"{path} is being imported by another process."]
    assert counts() == {"accepted": 5, "created": 1}


def test_a_home_that_is_down_is_waited_for_then_the_import_stops_and_goes_on_later(
    fragile_department: PrivatePostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people("wmA", home=100)
    people("wmB", home=101)
    path = write(
        tmp_path / "shop.csv",
        *(f"p{n},{name},purchase,store,1,2026-11-20" for n in range(3) for name in ("wmA", "wmB")),
        "bad,wmA,purchase,store,x,2026-11-20",
    )
    fragile_department.stop()
    connections["dept_101"].close()
    monkeypatch.setattr(jobs, "WAIT_SECONDS", (0.01, 0.01))
    with pytest.raises(CommandError, match=r"Stopped at line 3: .*dept_101.* Repeat the command"):
        run(path)
    assert ImportProgress.objects.get().lines == 0
    monkeypatch.setattr(jobs, "WAIT_SECONDS", (0.5,) * 20)
    threading.Timer(1, fragile_department.start).start()
    run(path)
    assert counts() == {"accepted": 3, "duplicates": 3, "rejected": 1}
    assert rows_everywhere()["behaviours"] == 6
    assert len(rejected(path)) == 1


def test_memory_does_not_grow_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "CHUNK_ROWS", 50)
    path = write(tmp_path / "shop.csv", *purchases(1_000))
    alive: list[int] = []
    real = importing.take_behaviours

    def watch(rows: Any, **more: Any) -> Any:
        alive.append(len(rows))
        assert all(len(connection.queries_log) < 30 for connection in connections.all())
        return real(rows, **more)

    monkeypatch.setattr("profiles.management.commands.import_behaviors.take_behaviours", watch)
    run(path)
    assert alive == [50] * 20
    assert record(refund("r1", "p0", external_userid="wm00000"), source="import").accepted == 1
