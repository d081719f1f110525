"""The admin of customers: pages of our own for what is sharded, ordinary ones for the control database."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import display

from customers import library
from customers.library import LibraryError
from customers.models import (
    Audit,
    Customer,
    Department,
    DirectoryEntry,
    Erasure,
    ImportProgress,
    Staff,
    Tag,
    TagGroup,
)
from customers.organisation import organisation
from customers.pages import changes, listing, person
from customers.pages.tags import NewTagGroupForm, TagForm, TagGroupForm
from scrm import sharding

ACTIONS = {
    "read_mobile": "查看手机号",
    "change_customer": "修改客户",
    "erase_customer": "删除客户",
    "move_customer": "迁移客户",
    "export_customers": "导出客户",
    "create_segment": "新建客户人群",
    "change_segment": "修改客户人群",
    "delete_segment": "删除客户人群",
    "export_segment": "导出人群成员",
    "collect_segment": "把筛选结果加入人群",
    "open_home": "开放归属库",
    "close_home": "停用归属库",
    "create_api_key": "建立 API 密钥",
    "revoke_api_key": "吊销 API 密钥",
    "replay_callbacks": "重放回调",
    "retry_wecom": "重试企业微信凭证",
    "accept_recommendation": "采纳行动建议",
    "dismiss_recommendation": "忽略行动建议",
    "reopen_recommendation": "撤销对行动建议的处理",
    "create_recommendation_rule": "新建建议规则",
    "change_recommendation_rule": "修改建议规则",
    "delete_recommendation_rule": "删除建议规则",
}


class ReadOnlyAdmin(ModelAdmin):
    """Rows that only the product writes."""

    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Customer)
class CustomerAdmin(ReadOnlyAdmin):
    """Entry in menus and permissions only: every page is ours, and nothing of ModelAdmin's queries this table."""

    def get_urls(self) -> list[URLPattern]:
        pages = {
            "": ("changelist", listing.list_page),
            "export/": ("export", listing.export_file),
            "<int:customer_id>/": ("change", person.person_page),
            "<int:customer_id>/edit/": ("edit", changes.edit_page),
            "<int:customer_id>/mobile/": ("mobile", changes.reveal_mobile),
            "<int:customer_id>/notes/": ("notes", person.older_notes),
            "<int:customer_id>/notes/add/": ("note", changes.write_note),
            "<int:customer_id>/notes/<uuid:note_id>/delete/": ("note_delete", changes.remove_note),
            "<int:customer_id>/move/": ("move", changes.move_page),
            "<int:customer_id>/delete/": ("delete", changes.erase_page),
        }
        return [
            path(route, self.admin_site.admin_view(view), name=f"customers_customer_{name}")
            for route, (name, view) in pages.items()
        ]


class _OrganisationAdmin(ModelAdmin):
    """What WeCom has shown is WeCom's: to be looked at here, and changed there. What was made here stays ours."""

    HINT = "由企业微信维护，此处只读：请在企业微信管理后台修改，收到回调或下一次同步后这里随之更新。"

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or obj.read_at is None)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and (obj is None or obj.read_at is None)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or obj.read_at is None:
            return fieldsets
        return [(name, {**options, "description": self.HINT}) for name, options in fieldsets]


@admin.register(Department)
class DepartmentAdmin(_OrganisationAdmin):
    list_display = ("name", "id", "parent", "members", "database", "order")
    search_fields = ("name", "=id")
    list_select_related = ("parent",)
    autocomplete_fields = ("parent",)
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> QuerySet[Department]:
        return super().get_queryset(request).annotate(member_count=Count("staff"))

    def get_readonly_fields(self, request: HttpRequest, obj: Department | None = None) -> tuple[str, ...]:
        return ("id",) if obj else ()

    @display(description="员工数", ordering="member_count")
    def members(self, department: Any) -> int:
        return int(department.member_count)

    @display(description="部门库")
    def database(self, department: Department) -> str:
        return f"dept_{department.pk}" if department.pk in sharding.shard_map() else "—"

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        super().save_model(request, obj, form, change)
        organisation.forget()


@admin.register(Staff)
class StaffAdmin(_OrganisationAdmin):
    list_display = ("name", "userid", "in_departments", "position", "status_label")
    search_fields = ("name", "userid")
    list_filter = ("status", "departments")
    autocomplete_fields = ("departments",)
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> QuerySet[Staff]:
        return super().get_queryset(request).prefetch_related("departments")

    def get_readonly_fields(self, request: HttpRequest, obj: Staff | None = None) -> tuple[str, ...]:
        return ("userid",) if obj else ()

    @display(description="部门")
    def in_departments(self, staff: Staff) -> str:
        return "、".join(department.name for department in staff.departments.all()) or "—"

    @display(
        description="状态", label={"已激活": "success", "退出企业": "danger", "已禁用": "danger"}, ordering="status"
    )
    def status_label(self, staff: Staff) -> str:
        return str(staff.get_status_display())

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: Any) -> None:
        super().save_related(request, form, formsets, change)
        organisation.forget()


class _LibraryAdmin(ModelAdmin):
    """Forms and deletions go through customers.library: nothing is saved here, and WeCom's refusals are told."""

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        """Do nothing: the form has done it."""

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        try:
            return super().delete_view(request, object_id, extra_context)
        except LibraryError as error:
            messages.error(request, f"没有删除：{error}")
            return redirect(request.path.removesuffix("delete/") + "change/")

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        try:
            return super().changelist_view(request, extra_context)
        except LibraryError as error:
            messages.error(request, f"没有删除：{error}")
            return redirect(request.get_full_path())

    @display(description="来源", label={"企业微信": "success", "规则组": "info", "自建": None})
    def origin(self, thing: Any) -> str:
        group = thing.group if isinstance(thing, Tag) else thing
        if not group.is_wecom:
            return "自建"
        return "规则组" if group.strategy_id else "企业微信"


@admin.register(TagGroup)
class TagGroupAdmin(_LibraryAdmin):
    list_display = ("name", "id", "origin", "tag_names", "order")
    list_filter = ("is_wecom",)
    search_fields = ("name", "id")

    def get_queryset(self, request: HttpRequest) -> QuerySet[TagGroup]:
        return super().get_queryset(request).prefetch_related("tags")

    def get_form(self, request: HttpRequest, obj: TagGroup | None = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(
            request, obj, change=change, **{**kwargs, "form": TagGroupForm if obj else NewTagGroupForm}
        )

    def get_fields(self, request: HttpRequest, obj: TagGroup | None = None) -> list[str]:
        if obj:
            return ["name", "order", "id", "origin"]
        return ["name", "tag_names", "order", *(["is_wecom"] if library.is_connected() else [])]

    def get_readonly_fields(self, request: HttpRequest, obj: TagGroup | None = None) -> tuple[str, ...]:
        return ("id", "origin") if obj else ()

    def delete_model(self, request: HttpRequest, obj: TagGroup) -> None:
        library.delete(groups=[obj])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[TagGroup]) -> None:
        library.delete(groups=queryset)

    @display(description="标签")
    def tag_names(self, group: Any) -> SafeString | str:
        names = [(tag.name,) for tag in group.tags.all()]
        return format_html_join(" ", '<span class="scrm-tag">{}</span>', names) or "—"


@admin.register(Tag)
class TagAdmin(_LibraryAdmin):
    form = TagForm
    list_display = ("name", "group", "id", "origin", "order")
    search_fields = ("name", "id")
    list_filter = ("group",)
    list_select_related = ("group",)
    autocomplete_fields = ("group",)
    list_per_page = 50

    def get_fields(self, request: HttpRequest, obj: Tag | None = None) -> list[str]:
        return ["name", "group", "order", *(["id", "origin"] if obj else [])]

    def get_readonly_fields(self, request: HttpRequest, obj: Tag | None = None) -> tuple[str, ...]:
        return ("id", "group", "origin") if obj else ()

    def delete_model(self, request: HttpRequest, obj: Tag) -> None:
        library.delete(tags=[obj])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Tag]) -> None:
        library.delete(tags=queryset.select_related("group"))


@admin.register(DirectoryEntry)
class DirectoryEntryAdmin(ReadOnlyAdmin):
    """Looked up by whole ids: a list of a million people is no use, and `LIKE` over it none either."""

    list_display = ("external_userid", "customer_link", "state_label", "changed_at")
    list_filter = ("state",)
    search_fields = ("=external_userid", "=customer_id")
    search_help_text = "完整的外部联系人 ID 或客户编号"
    ordering = ("external_userid",)
    show_full_result_count = False
    list_per_page = 50

    @display(description="客户编号")
    def customer_link(self, entry: DirectoryEntry) -> SafeString:
        return format_html(
            '<a class="scrm-link scrm-mono" href="../customer/{}/">{}</a>', entry.customer_id, entry.customer_id
        )

    @display(description="状态", label={"正常": "success", "创建中": "info", "迁移中": "info", "删除中": "warning"})
    def state_label(self, entry: DirectoryEntry) -> str:
        return str(entry.get_state_display())


@admin.register(Erasure)
class ErasureAdmin(ReadOnlyAdmin):
    list_display = ("id", "state_label", "requested_by", "requested_at", "finished_at", "waits")
    list_filter = ("state",)
    change_form_template = "customers/erasure.html"
    fields = ("id", "state_label", "requested_by", "requested_at", "finished_at", "waits", "cleared")
    readonly_fields = fields

    @display(description="状态", label={"已完成": "success", "进行中": "info"})
    def state_label(self, erasure: Erasure) -> str:
        return str(erasure.get_state_display())

    @display(description="还在等待")
    def waits(self, erasure: Erasure) -> str:
        return "、".join(erasure.waiting_for) or "—"

    @display(description="已清除")
    def cleared(self, erasure: Erasure) -> SafeString | str:
        lines = [
            (
                place,
                "，".join(f"{table} {rows} 行" for table, rows in sorted(found["rows"].items()) if rows) or "没有记录",
            )
            for place, found in sorted(erasure.places.items())
        ]
        return format_html_join("", "<div><b>{}</b>：{}</div>", lines) or "—"


@admin.register(ImportProgress)
class ImportProgressAdmin(ReadOnlyAdmin):
    list_display = ("file_name", "kind_label", "source", "lines", "fates", "started_at", "finished_at")
    list_filter = ("kind",)
    search_fields = ("file_name",)
    fields = ("file_name", "kind_label", "source", "lines", "fates", "started_at", "updated_at", "finished_at")
    readonly_fields = fields
    list_display_links = None

    @display(description="类型", label=True)
    def kind_label(self, progress: ImportProgress) -> str:
        return str(progress.get_kind_display())

    @display(description="结果")
    def fates(self, progress: ImportProgress) -> str:
        names = {
            "created": "新建", "updated": "更新", "unchanged": "未变", "accepted": "新增", "duplicates": "重复",
            "rejected": "拒绝",
        }  # fmt: skip
        return "，".join(f"{names.get(fate, fate)} {count}" for fate, count in progress.counts.items()) or "—"


@admin.register(Audit)
class AuditAdmin(ReadOnlyAdmin):
    list_display = ("at", "actor", "action_name", "short_subject", "detail_text")
    list_filter = ("action",)
    search_fields = ("actor", "=subject")
    search_help_text = "操作人，或完整的对象摘要"
    list_per_page = 50
    fields = ("at", "actor", "action_name", "subject", "detail_text")
    readonly_fields = fields

    @display(description="操作", ordering="action")
    def action_name(self, audit: Audit) -> str:
        return ACTIONS.get(audit.action, audit.action)

    @display(description="对象")
    def short_subject(self, audit: Audit) -> SafeString | str:
        return format_html('<span class="scrm-mono" title="{}">{}</span>', audit.subject, audit.subject[:12]) or "—"

    @display(description="详情")
    def detail_text(self, audit: Audit) -> str:
        return "，".join(f"{name}：{value}" for name, value in audit.detail.items()) or "—"
