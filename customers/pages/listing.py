"""Customers over all homes, page by page, and the same as a file."""

import csv
from io import TextIOWrapper
from tempfile import TemporaryFile
from typing import IO, Any

from django.contrib import messages
from django.http import FileResponse, HttpRequest, HttpResponseRedirect, QueryDict
from django.http.response import HttpResponseBase
from django.utils import timezone

from customers.access import Scope
from customers.audit import record
from customers.counts import count_customers
from customers.identity import mask_mobile
from customers.listing import Filters, Listed, list_customers
from customers.models import Customer
from customers.organisation import organisation
from customers.pages import positions
from customers.pages.access import actor_of, requires, scope_of_user
from customers.pages.filters import FilterForm
from customers.pages.rendering import render_page
from customers.segments import collect_page
from customers.tags import named
from scrm import sharding
from scrm.held import Held

PAGE_SIZE = 50
EXPORT_STEP = 1000
# Some ten seconds and 50 MB; more would make proxies give up waiting.
MAX_EXPORT = 200_000
EXPORT_COLUMNS = (
    "客户编号", "外部联系人ID", "姓名", "类型", "性别", "所在企业", "职位", "手机号", "归属库", "画像",
    "购买次数", "互动次数", "累计金额", "最近购买", "最近互动", "跟进人", "标签", "创建时间",
)  # fmt: skip
# The total over the list: good enough when some seconds old.
counted = Held(count_customers, seconds=5)


@requires("view_customer")
def list_page(request: HttpRequest) -> HttpResponseBase:
    """Show a page of customers. Database: two queries on each home asked, none but held ones on control."""
    form = FilterForm(request.GET)
    page: sharding.Page[Listed] = sharding.Page([], None, [])
    scope = scope_of_user(request.user)
    is_valid = form.is_valid()
    if is_valid:
        try:
            position = positions.decode(request.GET.get("cursor", ""))
        except ValueError:
            return HttpResponseRedirect(f"?{_query(request.GET, cursor='', trail='')}")
        page = list_customers(form.filters(), scope=scope, position=position, limit=PAGE_SIZE)
    return render_page(
        request,
        "customers/list.html",
        "全部客户",
        {
            "form": form,
            "is_valid": is_valid,
            "rows": [_row(one) for one in page.items],
            "unavailable": page.unavailable,
            "total": _total(form, scope) if is_valid else None,
            "has_customers": bool(page.items) or form.is_filtering or bool(page.unavailable),
            **_ways(request.GET, page),
            "collect_page": collect_page(request.user),
            "can_export": request.user.has_perm("customers.export_customer"),
        },
    )


def _ways(query: QueryDict, page: sharding.Page[Listed]) -> dict[str, str]:
    cursor, trail = query.get("cursor", ""), query.get("trail", "")
    ways = {"filter_query": _query(query, cursor="", trail="")}
    if cursor:
        ways["first"] = ways["filter_query"]
    before = positions.back(trail)
    if before is not None:
        ways["previous"] = _query(query, cursor=before[0], trail=before[1])
    if page.position is not None:
        after = positions.encode(page.position)
        if after != cursor:
            ways["next"] = _query(query, cursor=after, trail=positions.longer(trail, cursor))
    return ways


def _query(query: QueryDict, **changes: str) -> str:
    changed = query.copy()
    for name, value in changes.items():
        changed[name] = value
    for name in [name for name, value in changed.items() if not value]:
        del changed[name]
    return changed.urlencode()


def _total(form: FilterForm, scope: Scope) -> int | None:
    """Return how many customers there are if the kept counts tell."""
    filters: Filters = form.filters()
    if not scope.is_everything or filters.department or filters.tag or filters.q or filters.segment:
        return None
    counts = counted()
    if counts.unavailable:
        return None
    homes = [found for home, found in counts.homes.items() if filters.home in (None, home)]
    if filters.profile is None:
        return sum(sum(found.values()) for found in homes)
    return sum(found.get(filters.profile or None, 0) for found in homes)


def _row(listed: Listed) -> dict[str, Any]:
    names = organisation().staff_names
    customer = listed.customer
    live = [follow["userid"] for follow in customer["follows"] if follow["lost_at"] is None]
    return {**customer, "staff": [names.get(userid, userid) for userid in live]}


@requires("export_customer")
@requires("view_customer")
def export_file(request: HttpRequest) -> HttpResponseBase:
    """Send the filtered list as a CSV file, mobiles masked; no file when it would be short of somebody.

    It is written whole before the first byte is sent: a stream that breaks off looks complete to a browser, because
    the server ends it properly. Database: two queries on a home for each 1 000 customers, one insert on control.
    """
    form = FilterForm(request.GET)
    back = HttpResponseRedirect(f"../?{_query(request.GET, cursor='', trail='')}")
    if not form.is_valid():
        return back
    file = TemporaryFile()  # noqa: SIM115 - the response closes it
    try:
        count = write_customers(file, form.filters(), scope_of_user(request.user))
    except sharding.HomeUnavailableError as error:
        messages.error(request, f"没有导出：归属库 dept_{error.home} 暂时无法连接，文件会不完整。请稍后再试。")
        return back
    except TooManyError:
        messages.error(request, f"没有导出：超过 {MAX_EXPORT:,} 位客户，请先筛选，分几次导出。")
        return back
    record(actor_of(request), "export_customers", detail={"filters": form.in_words(), "rows": count})
    file.seek(0)
    stamp = timezone.localtime().strftime("%Y%m%d-%H%M")
    return FileResponse(file, as_attachment=True, filename=f"customers-{stamp}.csv", content_type="text/csv")


class TooManyError(Exception):
    """More customers than one file may hold."""


def write_customers(file: IO[bytes], filters: Filters, scope: Scope) -> int:
    """Write everybody into a file; return how many. Raises HomeUnavailableError, TooManyError."""
    # With a byte order mark Excel reads it as UTF-8.
    text = TextIOWrapper(file, encoding="utf-8-sig", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow(EXPORT_COLUMNS)
    count = 0
    position: sharding.Position | None = None
    while True:
        page = list_customers(filters, scope=scope, position=position, limit=EXPORT_STEP)
        if page.unavailable:
            raise sharding.HomeUnavailableError(page.unavailable[0])
        writer.writerows([_cell(value) for value in _export_row(one)] for one in page.items)
        count += len(page.items)
        if count > MAX_EXPORT:
            raise TooManyError
        position = page.position
        if position is None:
            text.detach()
            return count


def _cell(value: object) -> object:
    # A name that begins like a formula is one to a spreadsheet.
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _export_row(one: Listed) -> list[object]:
    row = _row(one)

    def local(moment: Any) -> str:
        return timezone.localtime(moment).strftime("%Y-%m-%d %H:%M:%S") if moment else ""

    return [
        row["customer_id"], row["external_userid"], row["name"], Customer.Type(row["type"]).label,
        Customer.Gender(row["gender"]).label, row["corp_name"], row["position"], mask_mobile(row["mobile"]),
        row["home"], row["profile"] or "未分类", row["purchase_count"], row["interaction_count"], row["total_amount"],
        local(row["last_purchase_at"]), local(row["last_interaction_at"]), "、".join(row["staff"]),
        "、".join(tag["name"] for tag in named(row["tag_ids"])), local(row["created_at"]),
    ]  # fmt: skip
