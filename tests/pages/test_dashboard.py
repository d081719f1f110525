"""The home page: from kept figures, whatever there is of them."""

import doctest
import json
import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from importlib import import_module
from itertools import pairwise
from typing import Any

import pytest
from django.db import connections
from django.http import QueryDict
from django.test import Client
from django.utils import timezone

from customers.access import scope_of
from customers.directory import upsert
from customers.models import Department
from customers.records import CustomerData
from profiles import publishing, runs
from profiles.days import day_of
from profiles.models import DailyFigure, Segment
from profiles.rules import Rule as ParsedRule
from profiles.rules import parse_conditions
from profiles.runs import run_all, start_run
from scrm import held, sharding
from scrm.dashboard import WARNED
from scrm.demo.seeding import SEGMENTS, seed_segments
from tests.counting import Counted, executed
from tests.profiles.nights import crowd
from tests.servers import PrivatePostgres

LONG = "近九十天购买三次以上且客单价高于平均水平但最近一个月没有互动的老客户群体与其家属以及由他们介绍来的朋友们和同事"


def today() -> Any:
    return day_of(timezone.now())


def home_page(client: Client, query: str = "") -> str:
    answer = client.get(f"/admin/{query}")
    assert answer.status_code == 200
    return str(answer.content.decode())


@pytest.fixture
def a_month(company: Any, kept_state: Callable[..., Any]) -> None:
    """Runs as of three days of the last weeks."""

    def make() -> None:
        for ago in (35, 7, 0):
            run_all(start_run("manual", today() - timedelta(days=ago)))

    kept_state(f"month until {today()}", make)
    held.forget_all()


@pytest.mark.parametrize("name", ["scrm.charts", "scrm.dashboard", "scrm.demo.company"])
def test_examples(name: str) -> None:
    found = doctest.testmod(import_module(name))
    assert (found.failed, found.attempted > 0) == (0, True)


@pytest.mark.usefixtures("a_month")
def test_no_home_is_asked(admin: Client) -> None:
    home_page(admin)
    before = executed()
    assert before["dept_100"] > 0
    with Counted() as counted:
        html = home_page(admin)
    assert executed() == before
    assert counted.counts["default"] <= 18
    for card in ("trend", "distribution", "lifecycle", "rfm", "value", "cohorts", "flows"):
        assert f'id="{card}"' in html, card


def test_while_a_run_is_going_on_each_home_is_asked_once(admin: Client, a_month: None) -> None:
    start_run("manual", today())
    home_page(admin)
    before = executed()
    html = home_page(admin)
    assert {home: count - before[home] for home, count in executed().items()} == {"dept_100": 1, "dept_101": 1}
    assert "进行中" in html


def test_key_figures_and_their_change_in_a_week(admin: Client, a_month: None) -> None:
    DailyFigure.objects.filter(kind="loss").delete()
    for day, high in ((today() - timedelta(days=8), 9), (today(), 4)):
        for home in (100, 101):
            data = {"high": high, "medium": 1}
            DailyFigure.objects.create(kind="loss", day=day, home=home, run_id=1, data=data)
    tiles = {tile.key: tile for tile in admin.get("/admin/").context["tiles"]}
    assert list(tiles) == ["total", "best", "alive", "loss", "value", "actions"]
    assert (tiles["total"].value, tiles["total"].change) == ("40", {"text": "持平", "way": "flat"})
    assert tiles["best"].label == "高价值客户"
    loss = tiles["loss"]
    assert (loss.value, loss.note, loss.change, loss.mood) == (
        "8", "另有 2 位中风险", {"text": "-10", "way": "down"}, "is-good",
    )  # fmt: skip
    assert loss.url == "/admin/profiles/segment/"
    segment = Segment.objects.create(name="要流失的", groups=WARNED)
    tiles = {tile.key: tile for tile in admin.get("/admin/").context["tiles"]}
    assert tiles["loss"].url == f"/admin/customers/customer/?segment={segment.pk}"


@pytest.mark.usefixtures("company")
def test_links_lead_only_to_what_may_be_opened(admin: Client, staff_with: Callable[..., Client]) -> None:
    version = publishing.save_draft([ParsedRule("大客户&home=101#", parse_conditions("purchase_count > 0"))], "其他")
    publishing.publish(version.pk, by="test")
    run_all(start_run("manual", today()))
    held.forget_all()
    tiles = {tile.key: tile for tile in admin.get("/admin/").context["tiles"]}
    assert QueryDict(tiles["best"].url.partition("?")[2]).dict() == {"profile": "大客户&home=101#"}
    assert tiles["loss"].url == "/admin/profiles/segment/"
    operator = staff_with("customers.view_customer")
    tiles = {tile.key: tile for tile in operator.get("/admin/").context["tiles"]}
    assert list(tiles) == ["total", "best", "alive", "loss", "value"]
    assert [operator.get(tile.url).status_code for tile in tiles.values() if tile.url] == [200, 200]


@pytest.mark.usefixtures("company")
def test_the_demo_has_segments_and_the_tile_of_warnings_leads_to_one(admin: Client) -> None:
    assert (seed_segments(), seed_segments()) == (len(SEGMENTS), 0)
    run_all(start_run("manual", today()))
    held.forget_all()
    context = admin.get("/admin/").context
    shown = {name: members for _pk, name, members, _change in context["segments"]}
    assert shown["门店常客"] > 0
    warned = Segment.objects.get(groups=WARNED)
    loss = next(tile for tile in context["tiles"] if tile.key == "loss")
    assert loss.url == f"/admin/customers/customer/?segment={warned.pk}"


@pytest.mark.usefixtures("clean_databases")
def test_thirty_classes_of_names_that_are_markup(admin: Client) -> None:
    names = [f"</script><img src=x onerror=alert({n})>\"'&\u2028{n}" for n in range(30)]
    segment = Segment.objects.create(name=names[0], groups=[])
    for ago in (9, 1, 0):
        for home in (100, 101):
            classes = {name: n + ago for n, name in enumerate(names)}
            moves = [[None, names[0], 1], *([before, after, 2] for before, after in pairwise(names))]
            for kind, data in (
                ("classes", {"classes": classes, "unclassified": 0, "last_id": 10**17}),
                ("moves", {"1": moves}), ("segments", {str(segment.pk): 3}), ("lifecycle", {"new": 0}), ("loss", {}),
                ("value", {"bins": [], "scored": 0, "alive_sum": 0, "purchases": "0"}),
                ("rfm", {"cells": [], "segments": {}}), ("cohorts", {"cells": [["2026-09", "2026-10", 1]]}),
            ):  # fmt: skip
                DailyFigure.objects.create(kind=kind, day=today() - timedelta(days=ago), home=home, run_id=1, data=data)
    html = home_page(admin)
    assert "<img src=x" not in html
    assert "onerror=alert(0)&gt;" in html
    charts = [json.loads(unescape(one)) for one in re.findall(r'data-value="([^"]*)"', html)]
    # The seven largest and the others together; of homes all thirty.
    assert [len(one["datasets"]) for one in charts][:2] == [8, 30]
    assert sum(sum(one["data"][-1:]) for one in charts[0]["datasets"]) == 2 * sum(range(30))


def test_the_trend_is_of_as_many_days_as_asked(admin: Client, a_month: None) -> None:
    assert admin.get("/admin/").context["trend"]["runs"] == 2
    assert admin.get("/admin/?days=90").context["trend"]["runs"] == 3
    for nonsense in ("?days=31", "?days=-1", "?days=x", "?days=30&days=90"):
        assert admin.get(f"/admin/{nonsense}").status_code == 200


@pytest.mark.usefixtures("company")
def test_one_department(admin: Client) -> None:
    Department.objects.create(id=77, name="新部门", parent_id=None)
    held.forget_all()
    html = home_page(admin, "?department=101&days=90")
    assert 'id="no-figures"' in html
    assert "还没有数据" in html
    assert 'id="total"' not in html
    publishing.publish(publishing.save_draft([], "大家").pk, by="test")
    run_all(start_run("manual", today()))
    held.forget_all()
    scope = scope_of([101])
    visible = 0
    for home in (100, 101):
        condition, params = scope.sql(home)
        with sharding.cursor(home) as cursor:
            cursor.execute(f"SELECT count(*) FROM customers WHERE {condition}", params)
            visible += cursor.fetchone()[0]
    assert 0 < visible < 40
    before = executed()
    with Counted() as counted:
        answer = admin.get("/admin/?department=101&days=90")
    assert (executed(), counted.counts["default"] <= 20) == (before, True)
    tiles = {tile.key: tile for tile in answer.context["tiles"]}
    assert (tiles["total"].label, tiles["total"].value) == ("部门客户", str(visible))
    assert tiles["total"].url == "/admin/customers/customer/?department=101"
    html = str(answer.content.decode())
    assert re.search(r'<option value="101" selected>[^<]+</option>', html)
    assert f"截至 {today()}，含下级部门" in html
    assert 'href="?days=30&amp;department=101#trend"' in html
    assert sum(total for *_, total in answer.context["rows"]) == visible
    assert f'id="total">{visible}</span>' in html
    # The list behind the tile is of the same customers.
    listed = admin.get(tiles["total"].url).context
    assert (len(listed["rows"]), listed["form"].data["department"]) == (visible, "101")
    assert 'id="no-customers"' in home_page(admin, "?department=77")
    for nonsense in ("?department=999", "?department=", "?department=x"):
        assert 'id="total">40</span>' in home_page(admin, nonsense)


@pytest.mark.usefixtures("company")
def test_before_the_first_run(admin: Client) -> None:
    html = home_page(admin)
    assert 'id="no-figures"' in html
    assert '<span class="scrm-figure-value" id="total">40</span>' in html
    assert 'id="rfm"' not in html


@pytest.mark.usefixtures("clean_databases")
def test_without_customers(admin: Client) -> None:
    assert 'id="first-steps"' in home_page(admin)


@pytest.mark.usefixtures("classified")
def test_who_was_created_since_counts_as_unclassified(admin: Client) -> None:
    upsert(CustomerData("wm-new", {"name": "新来的"}, home=101))
    html = home_page(admin)
    assert '<span class="scrm-figure-value" id="total">41</span>' in html
    assert "1 位待分类" in html


def test_a_home_that_was_down_is_named(
    fragile_department: PrivatePostgres, clean_databases: None, admin: Client
) -> None:
    crowd(100, 3)
    crowd(101, 2)
    run_all(start_run("manual", today() - timedelta(days=1)))
    fragile_department.stop()
    connections["dept_101"].close()
    runs.run_all(start_run("manual", today()))
    html = home_page(admin)
    assert 'id="unavailable"' in html
    assert f"沿用 {today() - timedelta(days=1)} 的数据" in html
    assert '<span class="scrm-figure-value" id="total">5</span>' in html


@pytest.mark.usefixtures("a_month")
def test_who_may_not_see_customers_sees_no_figures(staff_with: Callable[..., Client]) -> None:
    html = home_page(staff_with("profiles.view_profilerun"))
    assert 'id="last-run"' in html
    assert 'id="total"' not in html
    assert 'id="cohorts"' not in html


@pytest.mark.usefixtures("a_month")
def test_it_fits_a_phone_with_long_names(desk: Any) -> None:
    for figure in DailyFigure.objects.filter(kind__in=("classes", "moves"), home=100):
        text = str(figure.data).replace("高价值客户", LONG)
        figure.data = eval(text)
        figure.save()
    Segment.objects.create(pk=77, name=LONG)
    DailyFigure.objects.create(
        kind="segments", day=today() + timedelta(days=1), home=100, run_id=9, data={"77": 1_234_567}
    )
    for size in ({"width": 390, "height": 844}, {"width": 1440, "height": 900}):
        desk.set_viewport_size(size)
        desk.goto("/admin/?days=90")
        desk.wait_for_selector("#cohorts")
        assert desk.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
