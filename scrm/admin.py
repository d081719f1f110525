"""The admin of homes, API keys, users and the schedule, in unfold's look."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as BaseGroupAdmin
from django.contrib.auth.admin import UserAdmin as BaseUserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.db.models import Q
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django_celery_beat.admin import ClockedScheduleAdmin as BaseClockedScheduleAdmin
from django_celery_beat.admin import CrontabScheduleAdmin as BaseCrontabScheduleAdmin
from django_celery_beat.admin import PeriodicTaskAdmin as BasePeriodicTaskAdmin
from django_celery_beat.admin import PeriodicTaskForm, TaskSelectWidget
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)
from unfold.admin import ModelAdmin
from unfold.decorators import action, display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminSelect2MultipleWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from customers.admin import ReadOnlyAdmin
from customers.organisation import organisation
from scrm.api.models import ApiKey
from scrm.api.scopes import SCOPES
from scrm.pages import homes, keys
from scrm.sharding.models import Home

for model in (User, Group, ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule):
    admin.site.unregister(model)


@admin.register(Home)
class HomeAdmin(ReadOnlyAdmin):
    """Entry in menus and permissions: the page is ours."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("", view(homes.homes_page), name="sharding_home_changelist"),
            path("<int:home>/state/", view(homes.change_home), name="sharding_home_state"),
        ]


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    """Revoking a key wants the permission to delete one; the row stays, for whoever reads the audit log."""

    list_display = ("name", "token", "allows", "within", "state", "last_used_on", "created_at")
    search_fields = ("name", "prefix")
    actions_list = ("new_key",)

    def get_urls(self) -> list[URLPattern]:
        pages = {
            "new/": ("new", keys.new_key),
            "<int:key_id>/change/": ("change", keys.key_page),
            "<int:key_id>/revoke/": ("revoke", keys.revoke),
        }
        return [
            path(route, self.admin_site.admin_view(view), name=f"api_apikey_{name}")
            for route, (name, view) in pages.items()
        ] + super().get_urls()

    @action(description="新建密钥", icon="add", permissions=["make"], url_path="make")
    def new_key(self, request: HttpRequest) -> HttpResponseBase:
        """Go to the form that makes a key."""
        return redirect("admin:api_apikey_new")

    def has_make_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("api.add_apikey"))

    @display(description="密钥")
    def token(self, key: ApiKey) -> SafeString:
        return format_html('<span class="scrm-mono">{}…</span>', key.prefix)

    @display(description="权限")
    def allows(self, key: ApiKey) -> str:
        return "、".join(SCOPES.get(scope, scope) for scope in key.scopes)

    @display(description="部门")
    def within(self, key: ApiKey) -> str:
        names = organisation().department_names
        return "、".join(names.get(number, str(number)) for number in key.department_ids) or "全部"

    @display(description="状态", label={"有效": "success", "已吊销": "danger"})
    def state(self, key: ApiKey) -> str:
        return "已吊销" if key.revoked_at else "有效"


VERBS = {"add": "新增", "change": "修改", "delete": "删除", "view": "查看"}


class PermissionField(forms.ModelMultipleChoiceField):
    """Permissions by their names in 中文, `客户：查看`."""

    def label_from_instance(self, permission: Permission) -> str:
        model: Any = permission.content_type.model_class()
        verb, _, of = permission.codename.partition("_")
        is_usual = of == permission.content_type.model and verb in VERBS
        return f"{model._meta.verbose_name}：{VERBS[verb] if is_usual else permission.name}"


def permission_field(label: str, help_text: str) -> PermissionField:
    """Return a field of the permissions that an admin page asks for."""
    shown = Q(pk__in=[])
    for one in admin.site._registry:
        shown |= Q(content_type__app_label=one._meta.app_label, content_type__model=one._meta.model_name)
    return PermissionField(
        Permission.objects.filter(shown).select_related("content_type"),
        required=False,
        label=label,
        help_text=help_text,
        widget=UnfoldAdminSelect2MultipleWidget,
    )


@admin.register(User)
class UserAdmin(BaseUserAdmin, ModelAdmin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "full_name", "email", "is_staff", "is_active", "last_login")

    filter_horizontal = ()
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("个人信息", {"fields": ("first_name", "email")}),
        ("权限", {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        ("重要日期", {"fields": ("last_login", "date_joined")}),
    )

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "user_permissions":
            return permission_field("用户权限", "除了所在用户组的权限以外，再给这个用户的权限。")
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        # A Chinese name is one word: Django's two fields would show it the wrong way round.
        if db_field.name == "first_name" and field is not None:
            field.label = "姓名"
        return field

    @display(description="姓名")
    def full_name(self, user: User) -> str:
        return f"{user.last_name}{user.first_name}" or "—"


@admin.register(Group)
class GroupAdmin(BaseGroupAdmin, ModelAdmin):
    filter_horizontal = ()

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "permissions":
            return permission_field("权限", "这个用户组的成员可以做什么。")
        return super().formfield_for_dbfield(db_field, request, **kwargs)


class UnfoldTaskSelectWidget(UnfoldAdminSelectWidget, TaskSelectWidget):
    """beat's list of tasks, unfold's looks."""


class UnfoldPeriodicTaskForm(PeriodicTaskForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["task"].widget = UnfoldAdminTextInputWidget()
        self.fields["regtask"].widget = UnfoldTaskSelectWidget()


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(BasePeriodicTaskAdmin, ModelAdmin):
    form = UnfoldPeriodicTaskForm
    date_hierarchy = None
    list_filter = ("enabled", "one_off")


@admin.register(CrontabSchedule)
class CrontabScheduleAdmin(BaseCrontabScheduleAdmin, ModelAdmin):
    pass


@admin.register(IntervalSchedule)
class IntervalScheduleAdmin(ModelAdmin):
    pass


@admin.register(ClockedSchedule)
class ClockedScheduleAdmin(BaseClockedScheduleAdmin, ModelAdmin):
    pass


@admin.register(SolarSchedule)
class SolarScheduleAdmin(ModelAdmin):
    pass
