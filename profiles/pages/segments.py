"""Segments: their list, what one is, who is in it, its form with a live count, static ones filled by hand.

| permission                 | allows                                                                 |
|----------------------------|------------------------------------------------------------------------|
| profiles.view_segment      | the list, a segment's page, counts while conditions are written        |
| profiles.add_segment       | new ones                                                               |
| profiles.change_segment    | conditions, name, in use or not, members of static ones                |
| profiles.delete_segment    | deleting one that no other uses                                        |
| profiles.export_segment    | its members as a file, each time with an audit row                     |
| customers.view_customer    | the members on its page and in the list of customers, and export them  |
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from tempfile import TemporaryFile
from typing import Any, Protocol

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import FileResponse, HttpRequest, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from customers.access import Scope
from customers.audit import record
from customers.listing import Filters, list_customers
from customers.pages.access import actor_of, scope_of_user
from customers.pages.filters import FilterForm
from customers.pages.listing import TooManyError, write_customers
from customers.pages.sections import section
from profiles.days import day_of
from profiles.models import Segment
from profiles.pages.conditions import (
    PLACES,
    FormRow,
    choices_for,
    conditions_of,
    form_context,
    form_rows,
    read_conditions,
)
from profiles.pages.rendering import render_page
from profiles.rules import Filter, RuleError
from profiles.rules.filters import MAX_GROUPS
from profiles.segments import counting, tasks
from profiles.segments.definitions import (
    SegmentInUseError,
    change_segment,
    check_references,
    create_segment,
    delete_segment,
    deleted_segments,
    segment_names,
    users_of,
)
from profiles.segments.members import DELETED, change_members, segments_of, stays_of
from profiles.segments.preview import preview
from profiles.segments.refreshing import progress_of
from profiles.segments.views import state_of, words_of
from scrm import sharding

PREFIX = re.compile(r"[a-z0-9]{1,32}", re.ASCII)
SHOWN_MEMBERS = 20
CHART_DAYS = 30
MAX_PASTED = 5_000
# From a filtered list: a few seconds' work, as one request.
MAX_COLLECTED = 20_000
STATES = {
    "ready": ("is-done", "已就绪"),
    "computing": ("is-running", "计算中"),
    "paused": ("", "已停用"),
    "broken": ("is-failed", "条件有误"),
}
Kind = Segment.Kind


def _may(request: HttpRequest, *permissions: str) -> None:
    if not all(request.user.has_perm(one if "." in one else f"profiles.{one}") for one in permissions):
        raise PermissionDenied


@choices_for("segment")
def _segment_choices() -> list[tuple[str, str]]:
    return [(str(one), name) for one, name in segment_names().items()]


# --------------------------------------------------------------------------------------------------------------- form
@dataclass
class GroupForm:
    """A group of conditions as it stands in the form. errors: of the group; those of conditions stand at their rows."""

    prefix: str
    rows: list[FormRow] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@dataclass
class SegmentForm:
    """A segment as it stands in the form. places: {name of a control: what is wrong}; errors: of the whole."""

    name: str = ""
    description: str = ""
    kind: str = Kind.DYNAMIC
    is_active: bool = True
    groups: list[GroupForm] = field(default_factory=list)
    places: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    filter: Filter | None = None

    @property
    def is_whole(self) -> bool:
        return not self.places and not self.errors and (self.kind == Kind.STATIC or self.filter is not None)

    @property
    def values(self) -> dict[str, Any]:
        """What is saved of it."""
        found = {"name": self.name, "description": self.description, "is_active": self.is_active}
        return found if self.filter is None else {**found, "groups": self.filter.to_json()}

    def place(self, error: RuleError) -> None:
        """Put what is wrong at its control, or above the form."""
        match error.path:
            case ("groups", int(group), int(row), str(part)) if group < len(self.groups):
                self.groups[group].rows[row].errors[PLACES.get(part, part)] = error.reason
            case ("groups", int(group), *_) if group < len(self.groups):
                self.groups[group].errors.append(error.reason)
            case ("name" | "description" as place, *_):
                self.places[str(place)] = error.reason
            case _:
                self.errors.append(error.reason)


def form_of(segment: Segment) -> SegmentForm:
    """Return the form of what is saved; conditions that cannot be read are left out, and the form says so."""
    form = SegmentForm(segment.name, segment.description, segment.kind, segment.is_active)
    if segment.kind == Kind.STATIC:
        return form
    try:
        form.filter = Filter.from_json(segment.groups)
    except RuleError as error:
        form.errors.append(f"保存的条件不能使用，请重新填写：{error}")
        return form
    form.groups = [GroupForm(f"g{place}", form_rows(group)) for place, group in enumerate(form.filter.groups)]
    return form


def read_form(post: QueryDict, kind: str) -> SegmentForm:
    """Return what was sent, with what is wrong at its place. Whatever is sent, this raises nothing."""
    form = SegmentForm(_text(post, "name", 100), _text(post, "description", 300), kind, "is_active" in post)
    if kind == Kind.STATIC:
        return form
    read_groups(post, form)
    return form


class Groups(Protocol):
    """A form of a filter: of a segment, or of a recommendation rule."""

    groups: list[GroupForm]
    errors: list[str]
    filter: Filter | None

    def place(self, error: RuleError) -> None: ...


def read_groups(post: QueryDict, form: Groups) -> None:
    """Put the groups of conditions that were sent into a form, and the filter that they make if nothing is wrong."""
    prefixes = [one for one in dict.fromkeys(post.getlist("group")) if PREFIX.fullmatch(one)][: MAX_GROUPS + 1]
    form.groups = [GroupForm(prefix, read_conditions(post, prefix, "segment")) for prefix in prefixes]
    form.groups = [group for group in form.groups if group.rows]
    found = [conditions_of(group.rows) for group in form.groups]
    if not found:
        form.errors.append("至少要有一个条件")
    elif None not in found:
        try:
            form.filter = Filter(tuple(one for one in found if one is not None))
        except RuleError as error:
            form.place(error)


def _text(post: QueryDict, name: str, longest: int) -> str:
    return str(post.get(name, "")).replace("\x00", "").strip()[:longest]


@require_http_methods(["GET", "POST"])
def add_page(request: HttpRequest) -> HttpResponseBase:
    """Write a new segment."""
    _may(request, "add_segment")
    kind = (request.POST or request.GET).get("kind", Kind.DYNAMIC)
    if kind not in Kind.values:
        kind = Kind.DYNAMIC
    form = SegmentForm(kind=kind)
    if request.method == "POST":
        form = read_form(request.POST, kind)
        if form.is_whole:
            try:
                segment = create_segment(**form.values, kind=kind, by=actor_of(request))
            except RuleError as error:
                form.place(error)
            else:
                record(actor_of(request), "create_segment", detail={"segment": segment.pk, "name": segment.name})
                tasks.wake_recompute()
                messages.success(request, f"已保存客户人群“{segment.name}”。")
                return redirect("admin:profiles_segment_change", segment.pk)
    return _form_page(request, form, None)


@require_http_methods(["GET", "POST"])
def edit_page(request: HttpRequest, segment_id: int) -> HttpResponseBase:
    """Change a segment."""
    _may(request, "view_segment", "change_segment")
    segment = get_object_or_404(Segment, pk=segment_id)
    form = form_of(segment)
    if request.method == "POST":
        form = read_form(request.POST, segment.kind)
        if form.is_whole:
            try:
                changed = change_segment(segment_id, form.values)
            except RuleError as error:
                form.place(error)
            else:
                _note_change(request, segment, changed)
                return redirect("admin:profiles_segment_change", segment.pk)
    return _form_page(request, form, segment)


def _note_change(request: HttpRequest, before: Segment, after: Segment) -> None:
    if after.changed_at == before.changed_at:
        messages.info(request, "没有改动。")
        return
    record(actor_of(request), "change_segment", detail={"segment": after.pk, "version": after.version})
    if after.version != before.version:
        tasks.wake_recompute()
        messages.success(request, "已保存，正在按新的条件重新计算成员。")
    else:
        messages.success(request, "已保存。")


def _form_page(request: HttpRequest, form: SegmentForm, segment: Segment | None) -> HttpResponseBase:
    return render_page(
        request, "profiles/segment_edit.html", f"编辑“{segment.name}”" if segment else "新建客户人群", Segment,
        {
            **form_context("segment"),
            "form": form,
            "segment": segment,
            "is_static": form.kind == Kind.STATIC,
            "groups": form.groups or [GroupForm("g0")],
            "blank_group": GroupForm("__prefix__"),
            "spare_group": GroupForm("spare"),
            "is_wrong": not form.is_whole and request.method == "POST",
        },
    )  # fmt: skip


@never_cache
@require_POST
def preview_count(request: HttpRequest) -> HttpResponseBase:
    """Answer with how many customers the form's conditions hold now, or with what they lack: a piece of the page."""
    _may(request, "view_segment")
    form = read_form(request.POST, Kind.DYNAMIC)
    context: dict[str, Any] = {"found": None, "problem": ""}
    if form.filter is not None:
        try:
            check_references(None, "", form.filter, list(Segment.objects.order_by("pk")))
            context["found"] = preview(form.filter, scope=scope_of_user(request.user))
        except RuleError as error:
            context["problem"] = str(error)
    elif any(row.errors and not row.is_unfinished for group in form.groups for row in group.rows):
        context["problem"] = "有条件需要修改，改好后重新计算人数。"
    return TemplateResponse(request, "profiles/segment_preview.html", context)


# ------------------------------------------------------------------------------------------------------------ one page
def segment_page(request: HttpRequest, segment_id: int) -> HttpResponseBase:
    """Show a segment: what it is, how many are in it, who came and went, the first members.

    Database: two or three queries on control, three on each home.
    """
    _may(request, "view_segment")
    segment = get_object_or_404(Segment, pk=segment_id)
    user: Any = request.user
    state = state_of(segment)
    days, without = counting.read_days(segment.pk, day_of(timezone.now()) - timedelta(days=CHART_DAYS - 1))
    context: dict[str, Any] = {
        "segment": segment,
        "state": STATES[state],
        "is_static": segment.kind == Kind.STATIC,
        "words": words_of(segment.groups),
        "total": sum(segment.counts.values()),
        "counts": sorted((int(home), count) for home, count in segment.counts.items()),
        "progress": round(100 * _share(segment)) if state == "computing" else None,
        "chart": chart_of(days, day_of(timezone.now())),
        "users": users_of(segment.pk, Segment.objects.exclude(pk=segment.pk)),
        "unavailable": without,
        "can_change": user.has_perm("profiles.change_segment"),
        "can_delete": user.has_perm("profiles.delete_segment"),
        "can_export": user.has_perm("profiles.export_segment") and user.has_perm("customers.view_customer"),
        "can_see": user.has_perm("customers.view_customer"),
    }
    if context["can_see"]:
        page = list_customers(Filters(segment=segment.pk), scope=scope_of_user(user), limit=SHOWN_MEMBERS)
        context["members"] = [one.customer for one in page.items]
        context["has_more"] = page.position is not None
        context["unavailable"] = sorted({*without, *page.unavailable})
    return render_page(request, "profiles/segment.html", segment.name, Segment, context)


def _share(segment: Segment) -> float:
    shares = progress_of(segment).values()
    return sum(shares) / len(shares) if shares else 1.0


def chart_of(days: list[counting.Day], today: date) -> dict[str, Any]:
    """Return the bars of who entered and left on each of the last days, heights in percent of the highest.

    >>> chart = chart_of([counting.Day(date(2026, 1, 2), 4, 1)], date(2026, 1, 2))
    >>> chart["entered"], chart["left"], chart["bars"][-1]["up"], chart["bars"][-1]["down"], len(chart["bars"])
    (4, 1, 100, 25, 30)
    """
    found = {one.day: one for one in days}
    highest = max([1, *(max(one.entered, one.left) for one in days)])
    bars = []
    for back in range(CHART_DAYS - 1, -1, -1):
        day = today - timedelta(days=back)
        one = found.get(day, counting.Day(day, 0, 0))
        bars.append(
            {
                "day": day, "entered": one.entered, "left": one.left,
                "up": round(100 * one.entered / highest), "down": round(100 * one.left / highest),
            }
        )  # fmt: skip
    return {
        "bars": bars,
        "entered": sum(one.entered for one in days),
        "left": sum(one.left for one in days),
        "highest": highest,
    }


@require_POST
def switch(request: HttpRequest, segment_id: int) -> HttpResponseBase:
    """Put a segment in use, or out of it."""
    _may(request, "change_segment")
    segment = get_object_or_404(Segment, pk=segment_id)
    try:
        changed = change_segment(segment_id, {"is_active": not segment.is_active})
    except RuleError as error:
        messages.error(request, f"不能启用：{error}")
        return redirect("admin:profiles_segment_change", segment_id)
    record(actor_of(request), "change_segment", detail={"segment": segment_id, "is_active": changed.is_active})
    tasks.wake_recompute()
    messages.success(request, "已启用，正在计算成员。" if changed.is_active else "已停用，成员保持现状。")
    return redirect("admin:profiles_segment_change", segment_id)


@require_POST
def delete(request: HttpRequest, segment_id: int) -> HttpResponseBase:
    """Delete a segment that no other uses."""
    _may(request, "delete_segment")
    segment = get_object_or_404(Segment, pk=segment_id)
    try:
        delete_segment(segment_id, by=actor_of(request))
    except SegmentInUseError as error:
        messages.error(request, f"没有删除：{error}。请先修改它们。")
        return redirect("admin:profiles_segment_change", segment_id)
    record(actor_of(request), "delete_segment", detail={"segment": segment_id, "name": segment.name})
    messages.success(request, f"已删除客户人群“{segment.name}”。")
    return redirect("admin:profiles_segment_changelist")


@require_POST
def export_file(request: HttpRequest, segment_id: int) -> HttpResponseBase:
    """Send the members as a CSV file, mobiles masked; no file when it would be short of somebody."""
    _may(request, "view_segment", "export_segment", "customers.view_customer")
    segment = get_object_or_404(Segment, pk=segment_id)
    file = TemporaryFile()  # noqa: SIM115 - the response closes it
    try:
        count = write_customers(file, Filters(segment=segment_id), scope_of_user(request.user))
    except sharding.HomeUnavailableError as error:
        messages.error(request, f"没有导出：归属库 dept_{error.home} 暂时无法连接，文件会不完整。请稍后再试。")
        return redirect("admin:profiles_segment_change", segment_id)
    except TooManyError:
        messages.error(request, "没有导出：成员太多，请在全部客户里按人群和其他条件筛选，分几次导出。")
        return redirect("admin:profiles_segment_change", segment_id)
    record(actor_of(request), "export_segment", detail={"segment": segment_id, "name": segment.name, "rows": count})
    file.seek(0)
    stamp = timezone.localtime().strftime("%Y%m%d-%H%M")
    return FileResponse(file, as_attachment=True, filename=f"segment-{segment_id}-{stamp}.csv", content_type="text/csv")


# -------------------------------------------------------------------------------------------------- static ones by hand
@require_POST
def change_by_hand(request: HttpRequest, segment_id: int) -> HttpResponseBase:
    """Put pasted external_userids into a static segment, or take them out."""
    _may(request, "view_segment", "change_segment", "customers.view_customer")
    segment = get_object_or_404(Segment, pk=segment_id, kind=Kind.STATIC)
    pasted = list(dict.fromkeys(re.split(r"[\s,，;；]+", request.POST.get("external_userids", "").strip())))
    given = [one for one in pasted if one and "\x00" not in one]
    if not given or len(given) > MAX_PASTED:
        messages.error(request, f"请粘贴 1 到 {MAX_PASTED:,} 个外部联系人 ID，每行一个。")
        return redirect("admin:profiles_segment_change", segment_id)
    leaves = request.POST.get("do") == "remove"
    total = _change(request, segment, given, leaves=leaves, scope=scope_of_user(request.user))
    words = f"移出 {total['removed']:,} 位" if leaves else f"加入 {total['added']:,} 位"
    messages.success(request, f"已{words}客户。")
    if total["unknown"]:
        messages.warning(request, f"有 {total['unknown']:,} 个 ID 找不到客户，已跳过。")
    return redirect("admin:profiles_segment_change", segment_id)


def _change(
    request: HttpRequest, segment: Segment, external_userids: list[str], *, leaves: bool, scope: Scope
) -> dict[str, int]:
    """Change members a thousand at a time, and tell of homes that are down. Returns {added, removed, unknown}."""
    total = {"added": 0, "removed": 0, "unknown": 0}
    unavailable: set[int] = set()
    actor = actor_of(request)
    for start in range(0, len(external_userids), 1000):
        part = external_userids[start : start + 1000]
        lists = {"remove": part} if leaves else {"add": part}
        done = change_members(segment, **lists, by=actor, scope=scope)
        total["added"] += done.added
        total["removed"] += done.removed
        total["unknown"] += len(done.unknown)
        unavailable.update(done.unavailable)
    counting.store_counts()
    if unavailable:
        names = "、".join(f"dept_{home}" for home in sorted(unavailable))
        messages.error(request, f"归属库 {names} 暂时无法连接，其中的客户没有改动，请稍后再试一次。")
    return total


@require_http_methods(["GET", "POST"])
def collect_page(request: HttpRequest) -> HttpResponseBase:
    """Put everybody of a filtered list of customers into a static segment: a new one, or one that there is."""
    _may(request, "view_segment", "change_segment", "customers.view_customer")
    form = FilterForm(request.GET)
    if not form.is_valid():
        return redirect("admin:customers_customer_changelist")
    chosen = Segment.objects.filter(kind=Kind.STATIC).order_by("name")
    errors: list[str] = []
    if request.method == "POST":
        try:
            segment = _wanted(request, errors)
            if segment is not None:
                return _collect(request, form, segment)
        except RuleError as error:
            errors.append(str(error))
    page = list_customers(form.filters(), scope=scope_of_user(request.user), limit=1)
    return render_page(
        request, "profiles/segment_collect.html", "加入静态人群", Segment,
        {
            "words": form.in_words(), "chosen": chosen, "errors": errors, "is_empty": not page.items,
            "can_add": request.user.has_perm("profiles.add_segment"), "most": MAX_COLLECTED,
        },
    )  # fmt: skip


def _wanted(request: HttpRequest, errors: list[str]) -> Segment | None:
    name, number = _text(request.POST, "name", 100), _text(request.POST, "segment", 19)
    if name:
        _may(request, "add_segment")
        return create_segment(name=name, kind=Kind.STATIC, by=actor_of(request))
    found = Segment.objects.filter(pk=number, kind=Kind.STATIC).first() if number.isdecimal() else None
    if found is None:
        errors.append("请选择一个静态人群，或者填写新人群的名称。")
    return found


def _collect(request: HttpRequest, form: FilterForm, segment: Segment) -> HttpResponseBase:
    scope, names = scope_of_user(request.user), []
    position: sharding.Position | None = None
    while True:
        page = list_customers(form.filters(), scope=scope, position=position, limit=1000)
        if page.unavailable:
            messages.error(request, f"没有加入：归属库 dept_{page.unavailable[0]} 暂时无法连接。请稍后再试。")
            return redirect("admin:profiles_segment_change", segment.pk)
        names += [one.customer["external_userid"] for one in page.items]
        position = page.position
        if len(names) > MAX_COLLECTED:
            messages.error(request, f"没有加入：超过 {MAX_COLLECTED:,} 位客户，请先缩小筛选范围。")
            return redirect("admin:profiles_segment_change", segment.pk)
        if position is None:
            break
    total = _change(request, segment, names, leaves=False, scope=scope)
    record(
        actor_of(request), "collect_segment",
        detail={"segment": segment.pk, "filters": form.in_words(), "added": total["added"]},
    )  # fmt: skip
    messages.success(request, f"已加入 {total['added']:,} 位客户（筛选出 {len(names):,} 位，其余原来就在其中）。")
    return redirect("admin:profiles_segment_change", segment.pk)


# ------------------------------------------------------------------------------------------------- a customer's page
@section("segments", order=7, is_side=True, permission="profiles.view_segment")
def customer_segments(request: HttpRequest, customer: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The segments that a customer is in now, and when they were in which. Database: two queries on the home's."""
    names = segment_names()
    stays = stays_of(customer["customer_id"], names, deleted_segments())
    return "profiles/customer_segments.html", {
        "segments": segments_of(customer["customer_id"], names),
        "stays": [
            {"stay": one, "why": words_of_cause(one.cause), "end": words_of_cause(one.until_cause)} for one in stays
        ],
    }


def words_of_cause(cause: str) -> str:
    """Return why somebody entered or left, in 中文.

    >>> words_of_cause("run:7"), words_of_cause("api:shop")
    ('画像任务 7', 'api:shop')
    """
    if cause.startswith("run:"):
        return f"画像任务 {cause.removeprefix('run:')}"
    return {"live": "客户有新动态", "definition": "人群条件有改动", DELETED: "人群已删除"}.get(cause, cause)
