"""The rules through HTTP: what is in force, and all versions."""

from datetime import timedelta

import pytest
from django.utils import timezone

from profiles import publishing, releasing
from profiles.days import day_of
from profiles.rules import Rule, parse_conditions
from tests.api.clients import Api, problem

# Borrowed from the tests of the API.
from tests.api.conftest import nothing_held, private_cache  # isort: skip

__all__ = ["nothing_held", "private_cache"]

pytestmark = pytest.mark.usefixtures("nothing_held")

PATH = "/profiles/rules/"


def test_versions_and_which_is_in_force() -> None:
    rules = [Rule("复购客户", parse_conditions("purchase_count@store[90d] >= 2"))]
    draft = publishing.save_draft(rules, "潜在客户", note="试试")
    later = publishing.save_draft(rules, "潜在客户")
    tomorrow = day_of(timezone.now()) + timedelta(days=1)
    releasing.publish(later.pk, by="test", valid_from=tomorrow)
    api = Api()
    answer = api.get(PATH).json()
    assert answer["current"] == 1
    assert answer["next"] is None
    pending, written, first = answer["results"]
    assert [(one["version"], one["state"]) for one in (pending, written, first)] == [
        (later.pk, "pending"), (draft.pk, "draft"), (1, "in_force")
    ]  # fmt: skip
    assert pending["valid_from"] == tomorrow.isoformat()
    assert written["note"] == "试试"
    assert written["rules"] == [
        {
            "position": 1, "profile": "复购客户", "text": "purchase_count@store[90d] >= 2",
            "words": ["近 90 天门店渠道购买次数 ≥ 2"], "problem": None,
        }
    ]  # fmt: skip
    assert first["settings"]["lifecycle"]["dormant_days"] == 90
    releasing.withdraw(later.pk, by="test")
    assert [one["state"] for one in api.get(PATH).json()["results"]] == ["draft", "draft", "in_force"]


def test_pages_and_what_is_broken() -> None:
    rules = [Rule(name, parse_conditions("purchase_count > 1")) for name in ("甲", "乙")]
    draft = publishing.save_draft(rules, "其他")
    draft.rules.filter(position=1).update(conditions=[{"field": "no_such", "operator": ">", "value": 1}])
    api = Api()
    page = api.get(f"{PATH}?limit=1").json()
    assert page["results"][0]["version"] == draft.pk
    broken, other = page["results"][0]["rules"]
    assert (page["results"][0]["problem"], other["problem"]) == (None, None)
    assert broken["problem"].startswith("第 1 条规则 · 第 1 个条件 · 字段：没有 no_such 这个字段")
    draft.rules.update(conditions=[])
    whole = api.get(f"{PATH}?limit=1").json()["results"][0]
    assert whole["problem"].startswith("第 1 条规则 · 条件：")
    assert whole["rules"] == []
    rest = api.get(f"{PATH}?limit=1&cursor={page['next']}").json()
    assert ([one["version"] for one in rest["results"]], rest["next"]) == ([1], None)


def test_who_and_how() -> None:
    assert problem(Api("w", scopes=["customers:read"]).get(PATH)) == (403, "missing_scope")
    api = Api()
    assert problem(api.get(f"{PATH}?cursor=x")) == (400, "bad_cursor")
    assert problem(api.get(f"{PATH}?what=1"))[0] in (400, 422)
