"""The entry of segments in the admin: unfold's list, and pages of our own behind it."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from unfold.admin import ModelAdmin
from unfold.decorators import action, display

from profiles.models import Segment
from profiles.pages import segments
from profiles.segments.views import state_of

LABELS = {"已就绪": "success", "计算中": "info", "已停用": None, "条件有误": "danger"}


@admin.register(Segment)
class SegmentAdmin(ModelAdmin):
    list_display = ("name", "kind_label", "state_label", "members", "version_label", "description", "changed_at")
    list_filter = ("kind", "is_active")
    search_fields = ("name", "description")
    list_per_page = 50
    actions = None
    actions_list = ("new_static",)

    def has_delete_permission(self, request: HttpRequest, obj: Segment | None = None) -> bool:
        return bool(super().has_delete_permission(request, obj))

    def get_urls(self) -> list[URLPattern]:
        pages = {
            "add/": ("add", segments.add_page),
            "preview/": ("preview", segments.preview_count),
            "collect/": ("collect", segments.collect_page),
            "<int:segment_id>/change/": ("change", segments.segment_page),
            "<int:segment_id>/edit/": ("edit", segments.edit_page),
            "<int:segment_id>/switch/": ("switch", segments.switch),
            "<int:segment_id>/delete/": ("delete", segments.delete),
            "<int:segment_id>/export/": ("export", segments.export_file),
            "<int:segment_id>/by-hand/": ("by_hand", segments.change_by_hand),
        }
        return [
            path(route, self.admin_site.admin_view(view), name=f"profiles_segment_{name}")
            for route, (name, view) in pages.items()
        ] + super().get_urls()

    @action(description="新建静态名单", icon="playlist_add", permissions=["add"], url_path="new-static")
    def new_static(self, request: HttpRequest) -> HttpResponseBase:
        """Go to the form of a static segment."""
        return redirect(f"{reverse('admin:profiles_segment_add')}?kind=static")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Segment]:
        return super().get_queryset(request).order_by("name")

    @display(description="类型", ordering="kind")
    def kind_label(self, segment: Segment) -> str:
        return str(segment.get_kind_display())

    @display(description="状态", label=LABELS)
    def state_label(self, segment: Segment) -> str:
        return segments.STATES[state_of(segment)][1]

    @display(description="人数")
    def members(self, segment: Segment) -> str:
        return f"{sum(segment.counts.values()):,}"

    @display(description="条件版本", ordering="version")
    def version_label(self, segment: Any) -> str:
        return f"第 {segment.version} 版" if segment.kind == Segment.Kind.DYNAMIC else "—"
