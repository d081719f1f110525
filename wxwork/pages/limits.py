"""What is used and left of WeCom's API, and whether it takes our credentials."""

from dataclasses import dataclass

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from customers.audit import record
from customers.pages.access import actor_of
from profiles.pages.rendering import render_page
from scrm.cache import CacheUnreachableError
from wxwork import budget, tickets, tokens
from wxwork.budget import ApiUsage
from wxwork.errors import ConfigError
from wxwork.grants import Refusal
from wxwork.models import ApiLimit
from wxwork.tokens import CONTACTS, CUSTOMERS

WHY = {"minute": "每分钟", "hour": "每小时", "day": "每日"}
SECRETS = {CUSTOMERS: ("应用", "WXWORK_SECRET"), CONTACTS: ("通讯录", "WXWORK_CONTACTS_SECRET")}
# What to do, for whoever reads this page; wxwork.troubles has the longer words.
REMEDIES = {
    40001: "Secret 不正确，或应用已停用：请核对 {secret}。",
    40013: "企业 ID 不正确：请核对 WXWORK_CORP_ID。",
    60020: "本机出口 IP 不在应用的企业可信 IP 中：请在企业微信管理后台添加，约一分钟后生效。",
    48002: "应用没有调用权限：请在「客户联系」中把它加入「可调用接口的应用」。",
    50003: "应用已停用：请在企业微信管理后台启用。",
    40014: "企业微信连续拒绝 access_token。",
}


@dataclass(frozen=True)
class ApiRow:
    """A line of the table."""

    usage: ApiUsage
    per_minute: int
    per_hour: int

    @property
    def minute_percent(self) -> int:
        return min(100, 100 * self.usage.minute_used // self.per_minute)

    @property
    def hour_percent(self) -> int:
        return min(100, 100 * self.usage.hour_used // self.per_hour)

    @property
    def is_blocked(self) -> bool:
        return self.usage.open_seconds > 0

    @property
    def why(self) -> str:
        return WHY.get(self.usage.why, "")

    @property
    def open_words(self) -> str:
        return duration(self.usage.open_seconds)

    @property
    def free_words(self) -> str:
        return duration(self.usage.next_free_seconds) if self.usage.next_free_seconds >= 0.05 else ""


@dataclass(frozen=True)
class SecretRow:
    """One of the secrets: is it set, does WeCom take it."""

    name: str
    variable: str
    is_set: bool
    is_borrowed: bool = False
    refusal: Refusal | None = None
    token_seconds: float | None = None

    @property
    def remedy(self) -> str:
        code = self.refusal.code if self.refusal else None
        return REMEDIES.get(code or 0, "").format(secret=self.variable)

    @property
    def is_refused(self) -> bool:
        return self.refusal is not None and self.refusal.kind == "config"

    @property
    def refused_words(self) -> str:
        return duration(self.refusal.seconds_left) if self.refusal else ""

    @property
    def token_words(self) -> str:
        return duration(self.token_seconds) if self.token_seconds else ""


def duration(seconds: float) -> str:
    """Show how long something takes yet.

    >>> duration(0.4), duration(42), duration(3_600), duration(5_400)
    ('不到 1 秒', '42 秒', '1 小时', '1 小时 30 分')
    """
    if seconds < 1:
        return "不到 1 秒"
    if seconds < 60:
        return f"{seconds:.0f} 秒"
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    return (f"{hours} 小时" if hours else "") + (" " if hours and rest else "") + (f"{rest} 分" if rest else "")


@never_cache
def limits_page(request: HttpRequest) -> HttpResponseBase:
    """Show credentials and every API that was called in the last day. Redis: one script for each."""
    if not (request.user.has_perm("wxwork.view_apilimit") or request.user.has_perm("wxwork.change_apilimit")):
        raise PermissionDenied
    limits = budget.limits()
    rows = [ApiRow(found, limits.per_minute, limits.per_hour) for found in budget.usage().values()]
    secrets = [secret_row(name) for name in SECRETS]
    return render_page(
        request, "wxwork/limits.html", "接口额度", ApiLimit,
        {
            "rows": sorted(rows, key=lambda row: (not row.is_blocked, -row.usage.hour_used, row.usage.api)),
            "secrets": secrets,
            "limits": limits,
            "host": settings.WXWORK_BASE_URL,
            "corp_id": settings.WXWORK_CORP_ID,
            "is_alone": any(not row.usage.is_shared for row in rows),
            "can_retry": request.user.has_perm("wxwork.change_apilimit") and any(row.refusal for row in secrets),
        },
    )  # fmt: skip


def secret_row(name: str) -> SecretRow:
    """Return what is known of a secret without asking WeCom."""
    title, variable = SECRETS[name]
    is_borrowed = name == CONTACTS and not settings.WXWORK_CONTACTS_SECRET
    try:
        grant = tokens.grant_of(tokens.credential(name))
    except ConfigError:
        return SecretRow(title, variable, is_set=False)
    try:
        seconds = grant.find_seconds_left()
    except CacheUnreachableError:
        seconds = None
    return SecretRow(title, variable, True, is_borrowed, grant.find_refusal(), seconds)


@require_POST
def retry(request: HttpRequest) -> HttpResponseBase:
    """Have WeCom asked again at once, when what it refused has been mended."""
    if not request.user.has_perm("wxwork.change_apilimit"):
        raise PermissionDenied
    try:
        for name in SECRETS:
            tokens.grant_of(tokens.credential(name)).allow()
        for kind in (tickets.CORP, tickets.AGENT_CONFIG):
            tickets.grant_of(kind).allow()
    except (ConfigError, CacheUnreachableError):
        messages.error(request, "没有改动：凭证尚未配置，或 Redis 无法连接。")
    else:
        record(actor_of(request), "retry_wecom", detail={})
        messages.success(request, "下一次调用会重新向企业微信申请凭证。")
    return redirect("admin:wxwork_apilimit_changelist")
