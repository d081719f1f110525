"""Profile runs: started, watched, explained."""

from datetime import timedelta

import pytest
import redis
from django.test import Client
from django.utils import timezone

from profiles import claims, runs
from profiles.days import day_of
from profiles.models import Action, CustomerScore, ProfileRun, Recommendation, RecommendationRule, Segment

RUNS = "/admin/profiles/profilerun/"

pytestmark = pytest.mark.usefixtures("company", "broker_client")


def test_a_run_is_started_and_workers_are_told(admin: Client, broker_client: "redis.Redis") -> None:
    answer = admin.post(f"{RUNS}start/")
    run = ProfileRun.objects.get()
    assert answer.headers["Location"] == f"{RUNS}{run.pk}/change/"
    assert (run.kind, run.as_of, run.full, run.homes, run.requested_by, run.state) == (
        "manual", day_of(timezone.now()), False, [100, 101], "admin", "running",
    )  # fmt: skip
    assert broker_client.llen("celery") == 20
    html = admin.get(answer.headers["Location"]).content.decode()
    assert "已开始画像任务" in html
    assert "重试等待中的工作" in html
    again = admin.post(f"{RUNS}start/")
    assert again.headers["Location"] == answer.headers["Location"]
    assert "没有另外开始" in admin.get(again.headers["Location"]).content.decode()
    assert ProfileRun.objects.count() == 1


def test_options(admin: Client) -> None:
    yesterday = day_of(timezone.now()) - timedelta(days=1)
    admin.post(f"{RUNS}start/", {"as_of": yesterday.isoformat(), "full": "on", "backtest": "on", "homes": ["101"]})
    run = ProfileRun.objects.get()
    assert (run.kind, run.as_of, run.full, run.homes) == ("backtest", yesterday, True, [101])
    assert "这是一次试算" in admin.get(f"{RUNS}{run.pk}/change/").content.decode()


@pytest.mark.parametrize("as_of", ["2999-01-01", "x", "", "0000-01-01"])
def test_a_day_that_cannot_be(admin: Client, as_of: str) -> None:
    answer = admin.post(f"{RUNS}start/", {"as_of": as_of})
    assert answer.status_code == 200
    assert "scrm-error" in answer.content.decode()
    assert not ProfileRun.objects.exists()


def test_progress(admin: Client) -> None:
    run = runs.start_run("manual", day_of(timezone.now()))
    url = f"{RUNS}{run.pk}/progress/"
    before = admin.get(url).json()
    assert (before["state"], before["percent"], before["judged"]) == ("running", 0, 0)
    assert [home["home"] for home in before["homes"]] == [100, 101]
    assert [one["state"] for one in before["homes"][0]["buckets"]] == ["waiting"] * 10
    for home in (100, 101):
        for bucket in range(0, 10, 2):
            runs.work(run.pk, home, bucket)
    half = admin.get(url).json()
    assert (half["percent"], half["phase"]) == (16, "判断画像")  # half of the first of three phases
    assert half["judged"] == half["changed"] > 0
    runs.run_all(run)
    after = admin.get(url).json()
    assert (after["state"], after["percent"], after["judged"], after["changed"]) == ("done", 100, 40, 40)


def test_what_came_of_a_run(admin: Client, classified: ProfileRun) -> None:
    html = admin.get(f"{RUNS}{classified.pk}/change/").content.decode()
    for text in ("统计到", "完成", "全量", "画像变更", "未分类", *classified.summary["classes"]):
        assert text in html
    listed = admin.get(RUNS).content.decode()
    assert f"任务 {classified.pk}" in listed
    home = admin.get("/admin/").content.decode()
    assert f"任务 {classified.pk}" in home


def test_an_error_is_shown_where_it_is(admin: Client) -> None:
    run = runs.start_run("manual", day_of(timezone.now()))
    claim = claims.take(run.pk, 100, 3)
    assert claim is not None
    claims.give_back(claim, error="OSError: disk <full>")
    progress = admin.get(f"{RUNS}{run.pk}/progress/").json()
    assert progress["homes"][0]["buckets"][3]["error"] == "OSError: disk <full>"
    page = admin.get(f"{RUNS}{run.pk}/change/").content.decode()
    assert "disk <full>" not in page


def test_waking(admin: Client, broker_client: "redis.Redis") -> None:
    run = runs.start_run("manual", day_of(timezone.now()))
    answer = admin.post(f"{RUNS}{run.pk}/wake/")
    assert "已唤醒 20 份" in admin.get(answer.headers["Location"]).content.decode()
    assert broker_client.llen("celery") == 20
    answer = admin.post(f"{RUNS}{run.pk}/wake/")
    assert "没有等待中的工作" in admin.get(answer.headers["Location"]).content.decode()


def test_no_such_run(admin: Client) -> None:
    for path in ("change/", "progress/"):
        assert admin.get(f"{RUNS}999/{path}").status_code == 404


def test_a_run_shows_thresholds_and_the_value_model(admin: Client, classified: ProfileRun) -> None:
    classified.value_model = MODEL
    classified.save(update_fields=["value_model"])
    html = admin.get(f"{RUNS}{classified.pk}/change/").content.decode()
    for text in (
        "RFM 分数线",
        "全公司",
        "价值模型",
        "r 0.2426",
        "α 4.4136",
        "对数似然 -9582.4",
        "只用 1997-07-25 以前的购买估计",
        'class="chart"',
    ):
        assert text in html, text
    classified.value_model = {"customers": 3, "problem": "too_small", "reason": "复购客户太少，还不能估计"}
    classified.summary |= {"fitted_without": [101], "fit_error": ""}
    classified.save(update_fields=["value_model", "summary"])
    html = admin.get(f"{RUNS}{classified.pk}/change/").content.decode()
    assert "这次没有估计出价值：复购客户太少" in html
    assert "连不上 dept_101" in html
    assert 'class="chart"' not in html


def test_a_run_says_what_it_did_about_recommendations_and_what_went_wrong(
    admin: Client, classified: ProfileRun
) -> None:
    url = f"{RUNS}{classified.pk}/change/"
    page = admin.get(url)
    html = page.content.decode()
    there = [one.action for home in (100, 101) for one in Recommendation.objects.using(f"dept_{home}")]
    assert len(there) > 0
    assert [(one["name"], one["count"]) for one in page.context["suggestions"]["open"]] == [
        (action.label, there.count(action)) for action in Action
    ]
    assert "任务结束时待处理的建议" in html
    for text in ("没有更新", "不能使用", "连不上"):
        assert text not in html
    segment = Segment.objects.create(name="坏人群")
    rule = RecommendationRule.objects.order_by("pk").first()
    assert rule is not None
    classified.summary |= {
        "broken_segments": [{"id": segment.pk, "name": "坏人群", "reason": "没有这个字段 <luck>"}],
        "recommendations": {
            "broken_rules": [{"rule": rule.pk, "name": "坏规则", "reason": "没有这个人群"}],
            "feedback_without": [101],
            "affinities": {"items": 1200, "pairs": 4310, "written": 12, "unavailable": [100]},
        },
        "figures_error": "OperationalError: figures",
    }
    classified.save(update_fields=["summary"])
    html = admin.get(url).content.decode()
    for text in (
        f'href="/admin/profiles/segment/{segment.pk}/change/">坏人群</a>：没有这个字段 &lt;luck&gt;',
        f'href="/admin/profiles/recommendationrule/{rule.pk}/change/">坏规则</a>：没有这个人群',
        "统计采纳率时连不上 dept_101",
        "统计商品搭配时连不上 dept_100",
        "1,200 种商品",
        "4,310 对搭配，这次更新了 12 对",
        "首页的统计指标没有更新：OperationalError: figures",
    ):
        assert text in html, text
    del classified.summary["recommendations"]
    classified.summary |= {"broken_segments": [], "preparation_error": "OperationalError: gone"}
    classified.save(update_fields=["summary"])
    html = admin.get(url).content.decode()
    assert "建议按上一次的统计照常生成。原因：OperationalError: gone" in html
    assert 'id="suggestions"' not in html


def test_a_customers_page_shows_what_they_are_worth(
    admin: Client, customer_ids: list[int], classified: ProfileRun
) -> None:
    score = CustomerScore.objects.using("dept_100").order_by("customer_id").first()
    assert score is not None
    html = admin.get(f"/admin/customers/customer/{score.customer_id}/").content.decode()
    assert 'id="worth"' in html
    assert score.rfm_segment in html
    assert f"{score.recency_score} 分，满分 5 分" in html


MODEL = {
    "customers": 2357, "repeat_customers": 946, "unit": "week", "horizon_days": 90, "sampled": None, "r": 0.24259,
    "alpha": 4.41360, "a": 0.79292, "b": 2.42590, "log_likelihood": -9582.429, "p": 6.2495, "q": 3.7442,
    "gamma": 15.4435, "mean_spend": 35.17, "spenders": 946, "sampled_spenders": None,
    "calibration": [{"x": "0", "actual": 1411, "expected": 1407.7}],
    "holdout": {"as_of": "1997-07-25", "days": 68, "customers": 2357, "actual": 800, "expected": 812.3,
                "rows": [{"x": "0", "customers": 1500, "actual": 0.1, "expected": 0.12}]},
}  # fmt: skip
