"""What can be done to a customer from their page. Each answers a POST with a redirect, or with a piece of the page."""

import uuid
from typing import Any

from django.contrib import messages
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from customers.audit import record
from customers.directory import DirectoryError, upsert_many
from customers.erasure import request_erasure, run_erasure
from customers.models import Erasure
from customers.moves import move_customer
from customers.notes import NoteError, add_note, delete_note
from customers.pages.access import actor_of, requires
from customers.pages.forms import CustomerForm
from customers.pages.person import of_person, presentable
from customers.pages.rendering import render_page
from customers.tags import tag_library
from scrm import sharding

REASONS = {
    "erased": "这位客户已被删除。",
    "unknown_customer": "这位客户已不在这里，可能刚被删除。",
    "erasure_in_progress": "这位客户正在被删除。",
    "busy": "别人正在处理这位客户，请稍后再试。",
    "department_unavailable": "归属库暂时无法连接，请稍后再试。",
    "version_differs": "这位客户的资料刚刚有变化，请核对后再保存一次。",
    "attributes_too_large": "自定义属性太大，没有保存。",
    "owned_by_wecom": "这些资料由企业微信维护，不能在这里修改。",
}
BUSY = REASONS["busy"]


def _to(customer: dict[str, Any]) -> HttpResponseBase:
    return redirect("admin:customers_customer_change", customer["customer_id"])


@require_POST
@of_person("change_customer")
def write_note(request: HttpRequest, customer: dict[str, Any]) -> HttpResponseBase:
    """Add a note."""
    try:
        add_note(customer["customer_id"], request.POST.get("text", ""), author=actor_of(request))
    except NoteError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, "已添加跟进记录。")
    return _to(customer)


@require_POST
@of_person("change_customer")
def remove_note(request: HttpRequest, customer: dict[str, Any], note_id: uuid.UUID) -> HttpResponseBase:
    """Delete a note of one's own."""
    if delete_note(customer["customer_id"], note_id, author=actor_of(request)):
        messages.success(request, "已删除跟进记录。")
    else:
        messages.error(request, "没有删除：这条记录已不在，或不是您写的。")
    return _to(customer)


@require_POST
@never_cache
@requires("view_mobile")
@of_person("view_customer")
def reveal_mobile(request: HttpRequest, customer: dict[str, Any]) -> HttpResponseBase:
    """Answer with mobiles in clear: the customer's, or those that a staff member noted. Leaves an audit row."""
    userid = request.POST.get("userid", "")
    visible = {one["userid"] for one in presentable(request, customer)["follows"]}
    mobiles = (
        [
            mobile
            for one in customer["follows"]
            if one["userid"] == userid and userid in visible
            for mobile in one["mobiles"]
        ]
        if userid
        else [customer["mobile"]]
    )
    record(actor_of(request), "read_mobile", customer["external_userid"], {"userid": userid} if userid else {})
    return TemplateResponse(request, "customers/mobiles.html", {"mobiles": [one for one in mobiles if one]})


@require_http_methods(["GET", "POST"])
@of_person("change_customer")
def edit_page(request: HttpRequest, customer: dict[str, Any]) -> HttpResponseBase:
    """Edit what is ours; and what WeCom will own, until it does."""
    form = CustomerForm(customer, request.POST or None)
    if request.method == "POST" and form.is_valid():
        data = form.data_to_write()
        if data is None:
            messages.info(request, "没有改动。")
            return _to(customer)
        done = upsert_many([data], create=False)
        error = next(iter(done.rejected.values()), None)
        if error is None:
            record(actor_of(request), "change_customer", customer["external_userid"], {"fields": form.changed})
            messages.success(request, "已保存。")
            return _to(customer)
        form.add_error(None, REASONS.get(error.code, str(error)))
    return render_page(
        request, "customers/edit.html", f"编辑 {customer['name'] or customer['external_userid']}",
        {"customer": presentable(request, customer), "form": form, "has_library": bool(tag_library())},
    )  # fmt: skip


@require_http_methods(["GET", "POST"])
@of_person("move_customer")
def move_page(request: HttpRequest, customer: dict[str, Any]) -> HttpResponseBase:
    """Move a customer to another home, after asking."""
    homes = [home for home in sharding.shard_map().homes if home != customer["home"]]
    chosen = next((home for home in homes if str(home) == request.POST.get("home")), None)
    if chosen is not None:
        try:
            customer_id = move_customer(customer["external_userid"], chosen, actor=actor_of(request))
        except DirectoryError as error:
            messages.error(request, REASONS.get(error.code, str(error)))
        except TimeoutError:
            messages.error(request, BUSY)
        except sharding.HomeUnavailableError as error:
            messages.error(request, f"归属库 dept_{error.home} 暂时无法连接，客户仍在原处。")
        else:
            messages.success(request, f"已迁移到 dept_{chosen}，新的客户编号是 {customer_id}。")
            return redirect("admin:customers_customer_change", customer_id)
    return render_page(
        request, "customers/move.html", f"迁移 {customer['name'] or customer['external_userid']}",
        {"customer": presentable(request, customer), "homes": homes},
    )  # fmt: skip


@require_http_methods(["GET", "POST"])
@of_person("delete_customer")
def erase_page(request: HttpRequest, customer: dict[str, Any]) -> HttpResponseBase:
    """Erase a customer, after asking. What cannot be reached now is cleared later; the erasure's page tells."""
    if request.method == "POST" and request.POST.get("confirm") == "yes":
        try:
            erasure = request_erasure(customer["external_userid"], actor=actor_of(request))
            erasure = run_erasure(erasure.id)
        except DirectoryError as error:
            messages.error(request, REASONS.get(error.code, str(error)))
            return redirect("admin:customers_customer_changelist")
        except TimeoutError:
            messages.error(request, BUSY)
            return _to(customer)
        if erasure.state == Erasure.State.DONE:
            messages.success(request, "客户已从所有位置删除。")
        else:
            messages.warning(request, "客户已不可见；有位置暂时无法连接，恢复后会自动删完。")
        if request.user.has_perm("customers.view_erasure"):
            return redirect("admin:customers_erasure_change", erasure.id)
        return redirect("admin:customers_customer_changelist")
    return render_page(
        request, "customers/erase.html", f"删除 {customer['name'] or customer['external_userid']}",
        {"customer": presentable(request, customer)},
    )  # fmt: skip
