"""Callbacks in the admin: one of them with its XML, and having them handled once more."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from customers import audit
from customers.directory import addresses
from customers.pages.access import actor_of
from profiles.pages.rendering import render_page
from wxwork.inbox.masking import mask_codes, mask_persons
from wxwork.inbox.replaying import replay
from wxwork.models import Callback, CallbackKey
from wxwork.vocabulary import kind_name


def _may(request: HttpRequest, permission: str) -> None:
    if not request.user.has_perm(permission):
        raise PermissionDenied


@never_cache
def callback_page(request: HttpRequest, callback_id: int) -> HttpResponseBase:
    """Show a callback; mobiles and addresses in its XML are masked."""
    _may(request, "wxwork.view_callback")
    return _page(request, get_object_or_404(Callback, pk=callback_id), in_clear=False)


@never_cache
@require_POST
def clear_page(request: HttpRequest, callback_id: int) -> HttpResponseBase:
    """Show a callback as it came, but for codes, and write down who saw it."""
    _may(request, "wxwork.view_callback")
    _may(request, "customers.view_mobile")
    callback = get_object_or_404(Callback, pk=callback_id)
    audit.record(actor_of(request), "read_mobile", callback.external_userid, {"callback": callback.pk})
    return _page(request, callback, in_clear=True)


def _page(request: HttpRequest, callback: Callback, *, in_clear: bool) -> HttpResponseBase:
    xml = mask_codes(callback.xml)
    masked = mask_persons(xml)
    customer_id = addresses([callback.external_userid]).get(callback.external_userid)
    key = CallbackKey.objects.filter(key=callback.key, token__isnull=False).first()
    return render_page(
        request, "wxwork/callback.html", kind_name(callback.event, callback.change_type), Callback,
        {
            "callback": callback,
            "xml": xml if in_clear else masked,
            "can_clear": not in_clear and masked != xml and request.user.has_perm("customers.view_mobile"),
            "can_replay": bool(callback.key) and request.user.has_perm("wxwork.change_callback"),
            "customer_id": customer_id if request.user.has_perm("customers.view_customer") else None,
            "is_worked_on": callback.state == Callback.State.PENDING and key is not None,
            "waits_for": _waits_for(callback),
            "welcome": getattr(callback, "welcome", None),
        },
    )  # fmt: skip


def _waits_for(callback: Callback) -> Callback | None:
    """Return the older callback of the same key that a waiting one waits for."""
    if callback.state != Callback.State.PENDING:
        return None
    first = Callback.objects.filter(key=callback.key, state=Callback.State.PENDING).order_by("created_at", "id").first()
    return first if first and first.pk != callback.pk else None


@require_POST
def replay_one(request: HttpRequest, callback_id: int) -> HttpResponseBase:
    """Have one callback handled once more."""
    _may(request, "wxwork.change_callback")
    if replay(Callback.objects.filter(pk=callback_id), actor=actor_of(request)):
        messages.success(request, "已安排重放。")
    else:
        messages.warning(request, "这条回调的内容已随客户删除，不能重放。")
    return redirect("admin:wxwork_callback_change", callback_id)


def replay_matching(request: HttpRequest, matching: QuerySet[Any]) -> HttpResponseBase:
    """Ask how many are meant, then have them handled once more. matching: what the list's filters leave."""
    matching = matching.order_by()
    query = request.GET.urlencode()
    if request.method == "POST":
        told = replay(matching, actor=actor_of(request))
        messages.success(request, f"已安排重放 {told} 条回调。")
        response = redirect("admin:wxwork_callback_changelist")
        response["Location"] += f"?{query}" if query else ""
        return response
    return render_page(
        request, "wxwork/callback_replay.html", "重放回调", Callback, {"number": matching.count(), "query": query}
    )
