"""Department databases in the admin: how each is, and whether new customers go there."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from customers.audit import record
from customers.pages.access import actor_of
from profiles.pages.rendering import render_page
from scrm.sharding import UnknownHomeError
from scrm.sharding.errors import HomeStateError
from scrm.sharding.homes import close_home, open_home
from scrm.sharding.inspection import inspect
from scrm.sharding.models import Home


def homes_page(request: HttpRequest) -> HttpResponseBase:
    """Show every database; `?count` counts rows by table too, which reads each customers table."""
    user = request.user
    if not user.has_perm("sharding.view_home"):
        raise PermissionDenied
    counts = "count" in request.GET
    return render_page(
        request, "scrm/homes.html", "归属库", Home,
        {
            "inspection": inspect(count=counts),
            "counts": counts,
            "can_change": user.has_perm("sharding.change_home"),
        },
    )  # fmt: skip


@require_POST
def change_home(request: HttpRequest, home: int) -> HttpResponseBase:
    """Open or close a home for new customers."""
    if not request.user.has_perm("sharding.change_home"):
        raise PermissionDenied
    opens = request.POST.get("to") == "open"
    try:
        changed = open_home(home) if opens else close_home(home)
    except UnknownHomeError:
        messages.error(request, f"这个进程没有配置 dept_{home}，请先加入 DEPARTMENT_DATABASES。")
    except HomeStateError as error:
        reason = "它是最后一个开放的归属库，新客户将无处可去。" if not opens else str(error)
        messages.error(request, f"没有改动 dept_{home}：{reason}")
    else:
        if changed:
            record(actor_of(request), "open_home" if opens else "close_home", detail={"home": home})
        messages.success(request, f"dept_{home} 现在{'接收' if opens else '不再接收'}新客户，5 秒内对所有进程生效。")
    return redirect("admin:sharding_home_changelist")
