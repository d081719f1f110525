"""The admin of what WeCom told us: callbacks and their replays, customer groups, welcome messages."""

from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.http.response import HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter, RangeDateTimeFilter
from unfold.decorators import action, display

from customers.admin import ReadOnlyAdmin
from customers.organisation import organisation
from customers.pages.access import actor_of
from wxwork import welcome
from wxwork.handlers import handled_kinds
from wxwork.inbox.replaying import replay
from wxwork.inbox.storing import UNREADABLE
from wxwork.models import Callback, CustomerGroup, GroupMember, WelcomeDelivery, WelcomeMessage
from wxwork.pages import callbacks
from wxwork.pages.members import members_table
from wxwork.vocabulary import kind_name


class KindFilter(DropdownFilter):
    """By what WeCom said; the kinds that are handled are known, so that no table is searched for them."""

    title = "类型"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterator[tuple[str, str]]:
        for event, change_type in [*handled_kinds(), (UNREADABLE, "")]:
            yield f"{event}/{change_type}", kind_name(event, change_type)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Callback]) -> QuerySet[Callback]:
        if not self.value():
            return queryset
        event, _, change_type = str(self.value()).partition("/")
        return queryset.filter(event=event, change_type=change_type)


@admin.register(Callback)
class CallbackAdmin(ReadOnlyAdmin):
    list_display = (
        "kind", "about", "state_label", "created_at", "received_at", "attempts", "arrivals", "short_error",
    )  # fmt: skip
    list_filter = (("state", ChoicesDropdownFilter), KindFilter, ("received_at", RangeDateTimeFilter))
    list_filter_submit = True
    search_fields = ("external_userid__exact",)  # "=" would compare capitals, past the index
    search_help_text = "完整的外部联系人 ID"
    show_full_result_count = False
    list_per_page = 50
    actions = ("replay_selected",)  # type: ignore[assignment]
    list_before_template = "wxwork/callback_matching.html"

    def get_urls(self) -> list[URLPattern]:
        pages = {
            "<int:callback_id>/change/": ("change", callbacks.callback_page),
            "<int:callback_id>/clear/": ("clear", callbacks.clear_page),
            "<int:callback_id>/replay/": ("replay", callbacks.replay_one),
            "replay/": ("replay_matching", self.replay_matching),
        }
        return [
            path(route, self.admin_site.admin_view(view), name=f"wxwork_callback_{name}")
            for route, (name, view) in pages.items()
        ] + super().get_urls()

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("wxwork.change_callback"))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        more = {"can_replay": self.has_replay_permission(request)}
        return super().changelist_view(request, {**(extra_context or {}), **more})

    @action(description="重放所选回调", permissions=["replay"])
    def replay_selected(self, request: HttpRequest, queryset: QuerySet[Callback]) -> None:
        """Have the selected ones handled once more."""
        told = replay(queryset.order_by(), actor=actor_of(request))
        messages.success(request, f"已安排重放 {told} 条回调。")

    def replay_matching(self, request: HttpRequest) -> Any:
        """Ask, then have everything handled once more that the list's filters and search leave."""
        if not (self.has_view_permission(request) and self.has_replay_permission(request)):
            raise PermissionDenied
        try:
            matching = self.get_changelist_instance(request).queryset
        except IncorrectLookupParameters:
            return redirect("admin:wxwork_callback_changelist")
        return callbacks.replay_matching(request, matching)

    @display(description="类型", ordering="event")
    def kind(self, callback: Callback) -> str:
        return kind_name(callback.event, callback.change_type)

    @display(description="对象")
    def about(self, callback: Callback) -> SafeString | str:
        return format_html('<span class="scrm-mono scrm-break">{}</span>', callback.key or "（已删除的客户）")

    @display(
        description="状态",
        label={"待处理": "info", "已处理": "success", "不需处理": None, "处理失败": "danger"},
        ordering="state",
    )
    def state_label(self, callback: Callback) -> str:
        return str(callback.get_state_display())

    @display(description="错误")
    def short_error(self, callback: Callback) -> str:
        return callback.error if len(callback.error) <= 60 else f"{callback.error[:60]}…"


def _members(**kind: Any) -> Coalesce:
    """Return how many members a group has, counted for the groups of a page and not for all of them."""
    members = GroupMember.objects.filter(group=OuterRef("pk"), **kind).order_by().values("group")
    return Coalesce(Subquery(members.annotate(number=Count("pk")).values("number")), 0)


@admin.register(CustomerGroup)
class CustomerGroupAdmin(ReadOnlyAdmin):
    list_display = ("title", "owner_name", "members_count", "customers_count", "state_label", "created_at", "read_at")
    search_fields = ("name", "=chat_id", "=owner")
    search_help_text = "群名，或完整的群 ID、群主账号"
    list_per_page = 50
    fields = (
        "chat_id", "title", "owner_name", "notice", "state_label", "created_at", "dismissed_at", "read_at", "people",
    )  # fmt: skip
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[CustomerGroup]:
        customers = _members(type=GroupMember.Type.CUSTOMER)
        return super().get_queryset(request).annotate(all_members=_members(), all_customers=customers)

    @display(description="群名", ordering="name")
    def title(self, group: CustomerGroup) -> str:
        return group.name or "（未命名的群）"

    @display(description="群主", ordering="owner")
    def owner_name(self, group: CustomerGroup) -> str:
        return organisation().staff_names.get(group.owner, group.owner) or "—"

    @display(description="成员", ordering="all_members")
    def members_count(self, group: Any) -> int:
        return int(group.all_members)

    @display(description="外部成员", ordering="all_customers")
    def customers_count(self, group: Any) -> int:
        return int(group.all_customers)

    @display(description="状态", label={"正常": "success", "已解散": None})
    def state_label(self, group: CustomerGroup) -> str:
        return "已解散" if group.dismissed_at else "正常"

    @display(description="群成员")
    def people(self, group: CustomerGroup) -> SafeString | str:
        return members_table(group)


class WelcomeForm(forms.ModelForm):
    class Meta:
        model = WelcomeMessage
        fields = ("name", "text", "state", "departments", "is_active")

    def clean_text(self) -> str:
        text = str(self.cleaned_data["text"])
        if problem := welcome.text_problem(text):
            raise forms.ValidationError(problem)
        return text


@admin.register(WelcomeMessage)
class WelcomeMessageAdmin(ModelAdmin):
    form = WelcomeForm
    list_display = ("name", "for_whom", "short_text", "is_active", "changed_at")
    list_filter = ("is_active",)
    search_fields = ("name", "text", "state")
    autocomplete_fields = ("departments",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[WelcomeMessage]:
        return super().get_queryset(request).prefetch_related("departments")

    @display(description="适用范围")
    def for_whom(self, message: WelcomeMessage) -> str:
        departments = "、".join(one.name for one in message.departments.all())
        parts = [f"渠道 {message.state}"] if message.state else []
        return "，".join(parts + ([departments] if departments else [])) or "所有客户"

    @display(description="文字")
    def short_text(self, message: WelcomeMessage) -> str:
        return message.text if len(message.text) <= 40 else f"{message.text[:40]}…"

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: Any) -> None:
        super().save_related(request, form, formsets, change)
        welcome.active_messages.forget()

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        super().delete_model(request, obj)
        welcome.active_messages.forget()

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        super().delete_queryset(request, queryset)
        welcome.active_messages.forget()


@admin.register(WelcomeDelivery)
class WelcomeDeliveryAdmin(ReadOnlyAdmin):
    list_display = ("staff_name", "external_userid", "message", "state_label", "expires_at", "sent_at", "error")
    list_filter = (("state", ChoicesDropdownFilter),)
    list_filter_submit = True
    list_select_related = ("message",)
    search_fields = ("external_userid__exact", "=userid")
    search_help_text = "完整的外部联系人 ID 或员工账号"
    show_full_result_count = False
    list_per_page = 50
    # Not the code: it is a secret while it lives.
    fields = (
        "staff_name", "external_userid", "message", "state_label", "attempts", "expires_at", "sent_at", "error",
    )  # fmt: skip
    readonly_fields = fields

    @display(description="员工", ordering="userid")
    def staff_name(self, delivery: WelcomeDelivery) -> str:
        return organisation().staff_names.get(delivery.userid, delivery.userid)

    @display(
        description="状态",
        label={"待发送": "info", "发送中": "info", "已发送": "success", "未发送": "danger"},
        ordering="state",
    )
    def state_label(self, delivery: WelcomeDelivery) -> str:
        return str(delivery.get_state_display())
