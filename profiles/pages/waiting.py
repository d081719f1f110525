"""The list of behaviours that wait for somebody to claim their identity: to be looked at, not touched."""

from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from unfold.decorators import display

from customers.admin import ReadOnlyAdmin
from customers.identity_kinds import kind_names
from profiles.behaviours import REASONS
from profiles.behaviours.keeping import KEPT_DAYS
from profiles.models import Behaviour, WaitingBehaviour
from profiles.vocabulary import channel_names

# What an operations person reads for the codes that a behaviour can end with; others are shown as they are.
REFUSALS = {
    "unknown_customer": "客户已不存在",
    "event_id_conflict": "同一事件ID已计入其他内容",
    "unknown_purchase": "找不到对应的购买",
    "refund_before_purchase": "退款早于购买",
    "refund_exceeds_purchase": "退款超过可退金额",
}
EXPIRING_DAYS = 7
STATES = {"等待认领": "info", "正在计入": "info", "未计入": "danger"}


def counts() -> dict[str, int]:
    """Count what waits. Database: one query on control."""
    soon = timezone.now() + timedelta(days=EXPIRING_DAYS)
    found = WaitingBehaviour.objects.aggregate(
        all=Count("id"),
        waiting=Count("id", filter=Q(refused="")),
        expiring=Count("id", filter=Q(refused="", expires_at__lt=soon)),
    )
    return {**found, "refused": found["all"] - found["waiting"], "kept_days": KEPT_DAYS}


class StateFilter(admin.SimpleListFilter):
    title = "状态"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("waiting", "等待认领"), ("refused", "未计入")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[WaitingBehaviour]) -> QuerySet[WaitingBehaviour]:
        if self.value() == "waiting":
            return queryset.filter(refused="")
        return queryset.exclude(refused="") if self.value() == "refused" else queryset


class WaitingBehaviourAdmin(ReadOnlyAdmin):
    list_display = (
        "event_id", "source", "identity_label", "kind_label", "channel_label", "amount", "occurred", "received_at",
        "expires_at", "state_label", "reason",
    )  # fmt: skip
    list_filter = (StateFilter, "identity_kind", "source")
    list_display_links = None
    list_per_page = 50
    search_fields = ("event_id__exact",)
    search_help_text = "事件ID"
    ordering = ("-id",)
    fields = list_display
    readonly_fields = fields
    list_before_template = "profiles/waiting_counts.html"

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return super().changelist_view(request, {**(extra_context or {}), "waiting": counts()})

    @display(description="身份类型", ordering="identity_kind")
    def identity_label(self, row: WaitingBehaviour) -> str:
        return kind_names().get(row.identity_kind, row.identity_kind)

    @display(description="行为", label=True)
    def kind_label(self, row: WaitingBehaviour) -> str:
        return str(Behaviour.Kind(row.contents["kind"]).label)

    @display(description="渠道")
    def channel_label(self, row: WaitingBehaviour) -> str:
        return channel_names().get(row.contents["channel"], row.contents["channel"])

    @display(description="金额")
    def amount(self, row: WaitingBehaviour) -> str:
        if row.contents["kind"] == Behaviour.Kind.INTERACTION:
            return "—"
        return f"¥{row.contents['amount']}" if row.contents["amount"] is not None else "剩余全额"

    @display(description="发生时间")
    def occurred(self, row: WaitingBehaviour) -> object:
        return datetime.fromisoformat(row.contents["occurred_at"])

    @display(description="状态", label=STATES)
    def state_label(self, row: WaitingBehaviour) -> str:
        if row.refused:
            return "未计入"
        return "正在计入" if row.folded_to else "等待认领"

    @display(description="原因")
    def reason(self, row: WaitingBehaviour) -> str:
        return REFUSALS.get(row.refused, REASONS.get(row.refused, row.refused)) or "—"
