"""manage.py import_customers: from a file to customers, field owners, repeats, bad rows."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from customers import erasure
from customers.directory import addresses, upsert
from customers.imports import jobs
from customers.models import Customer, CustomerTag, ImportProgress, Tag, TagGroup
from customers.records import CustomerData
from scrm import sharding
from tests.customers.people import make


def run(path: Path, **options: Any) -> str:
    output = io.StringIO()
    call_command("import_customers", path, stdout=output, stderr=io.StringIO(), **options)
    return output.getvalue()


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join([*lines, ""]), encoding="utf-8-sig")
    return path


def counts() -> dict[str, int]:
    return ImportProgress.objects.latest("started_at").counts


def rejected(path: Path) -> list[dict[str, str]]:
    with path.with_name(f"{path.name}.rejected.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def stored(external_userid: str) -> Customer:
    customer_id = addresses([external_userid])[external_userid]
    alias = sharding.alias(sharding.home_of(customer_id))
    return Customer.objects.using(alias).get(customer_id=customer_id)


def tags_of(customer: Customer) -> set[str]:
    rows = CustomerTag.objects.using(customer._state.db).filter(customer_id=customer.customer_id)
    return set(rows.values_list("tag_id", flat=True))


@pytest.fixture
def library() -> None:
    group = TagGroup.objects.create(id="g", name="等级")
    Tag.objects.bulk_create(Tag(id=number, name=name, group=group) for number, name in [("et1", "金"), ("et2", "银")])
    other = TagGroup.objects.create(id="h", name="颜色")
    Tag.objects.create(id="et3", name="银", group=other)


def test_every_column(tmp_path: Path, library: None) -> None:
    path = write(
        tmp_path / "people.csv",
        "external_userid,name,avatar,type,gender,unionid,corp_name,position,"
        "mobile,attributes,attr:level,attr:店,tags,home",
        "wmA,王小明,https://x/1,2,男,ou1,某公司,经理,"
        '+86 138-1234,"{""n"": 3, ""level"": ""x""}",金,一店,et1|金| et2,101',
        "wmB,,,,,,,,,,,,,",
    )
    run(path)
    one = stored("wmA")
    assert sharding.home_of(one.customer_id) == 101
    assert (one.name, one.avatar, one.type, one.gender, one.unionid) == ("王小明", "https://x/1", 2, 1, "ou1")
    assert (one.corp_name, one.position, one.mobile) == ("某公司", "经理", "+86 138-1234")
    assert one.attributes == {"n": 3, "level": "金", "店": "一店"}
    assert tags_of(one) == {"et1", "et2"}
    other = stored("wmB")
    assert (other.name, other.gender, other.type, other.attributes) == ("", 0, 1, {})
    assert counts() == {"created": 2}


def test_again_changes_nothing_and_empty_cells_leave_things_as_they_are(tmp_path: Path) -> None:
    path = write(tmp_path / "people.csv", "external_userid,name,mobile,attr:a", "wmA,王,138,1", "wmB,李,,")
    run(path)
    versions = [stored(name).version for name in ("wmA", "wmB")]
    run(path)
    assert counts() == {"unchanged": 2}
    assert [stored(name).version for name in ("wmA", "wmB")] == versions
    write(path, "external_userid,name,mobile,attr:b", "wmA,,139,2", "wmB,李,,")
    run(path)
    assert counts() == {"updated": 1, "unchanged": 1}
    one = stored("wmA")
    assert (one.name, one.mobile, one.attributes) == ("王", "139", {"a": "1", "b": "2"})


def test_rows_of_one_person_are_put_together(tmp_path: Path) -> None:
    path = write(
        tmp_path / "people.csv",
        "external_userid,name,mobile,attr:a,home",
        "wmA,王,138,1,",
        "wmA,王二,,,101",
        "wmA,,139,2,",
    )
    run(path)
    one = stored("wmA")
    assert (one.name, one.mobile, one.attributes) == ("王二", "139", {"a": "2"})
    assert sharding.home_of(one.customer_id) == 101
    assert counts() == {"created": 1, "repeated": 2}


def test_bad_rows_are_put_beside_the_file(tmp_path: Path, library: None) -> None:
    header = "external_userid,name,mobile,gender,type,attributes,tags,home"
    rows = {
        "invalid_external_userid": "x" * 65 + ",,,,,,,",
        "invalid_mobile": "wm1,,138****5678,,,,,",
        "invalid_gender": "wm2,,,x,,,,",
        "invalid_type": "wm3,,,,9,,,",
        "invalid_attributes": "wm4,,,,,[],,",
        "invalid_tags": "wm5,,,,,,银,",
        "unknown_home": "wm6,,,,,,,77",
        "invalid_home": "wm7,,,,,,,x",
        "invalid_name": "wm8," + "名" * 129 + ",,,,,,",
        "wrong_columns": "wm9",
    }
    attributes_1mb = 'wmX,,,,,"{""a"": ""' + "x" * 500_000 + '""}",,'
    path = write(tmp_path / "people.csv", header, *rows.values(), attributes_1mb, "wmGood,好,,,,,,")
    run(path)
    assert [row["code"] for row in rejected(path)] == [*rows, "invalid_attributes"]
    assert [int(row["line"]) for row in rejected(path)] == list(range(2, 13))
    assert counts() == {"created": 1, "rejected": 11}
    assert stored("wmGood").name == "好"
    assert list(addresses([f"wm{number}" for number in range(10)])) == []


def test_fields_of_wecom_are_wecoms_once_it_has_synced(tmp_path: Path) -> None:
    upsert(CustomerData("wmA", fields={"name": "微信名"}, by_wecom=True))
    path = write(tmp_path / "people.csv", "external_userid,name,mobile", "wmA,别名,138")
    run(path)
    assert [(row["code"], "(name)" in row["message"]) for row in rejected(path)] == [("owned_by_wecom", True)]
    assert stored("wmA").mobile == ""
    run(write(path, "external_userid,name,mobile", "wmA,微信名,138"))
    assert counts() == {"updated": 1}
    assert stored("wmA").mobile == "138"


def test_the_erased_stay_erased(tmp_path: Path) -> None:
    make("wmA")
    erasure.run_erasure(erasure.request_erasure("wmA", actor="test").id)
    path = write(tmp_path / "people.csv", "external_userid,name", "wmA,王", "wmB,李")
    run(path)
    assert [row["code"] for row in rejected(path)] == ["erased"]
    assert list(addresses(["wmA", "wmB"])) == ["wmB"]


def test_it_is_taken_up_where_it_was_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "CHUNK_ROWS", 5)
    path = write(tmp_path / "people.csv", "external_userid,name", *(f"wm{number},名{number}" for number in range(20)))
    run(path)
    assert counts() == {"created": 20}
    ImportProgress.objects.update(finished_at=None, lines=11, counts={"created": 10})
    run(path)
    assert counts() == {"created": 10, "unchanged": 10}


def test_another_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="has no column external_userid"):
        run(write(tmp_path / "people.csv", "userid,name", "wmA,王"))
    assert not ImportProgress.objects.exists()


def test_rows_of_one_person_that_are_too_large_together_make_nobody(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "external_userid,attr:a,attr:b", f"wm1,{'x' * 4000},", f"wm1,,{'x' * 4000}")
    run(path)
    assert counts() == {"rejected": 2}
    assert [one["code"] for one in rejected(path)] == ["attributes_too_large"] * 2
    assert addresses(["wm1"]) == {}
