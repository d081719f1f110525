"""The admin's entry for WeCom's limits; the page is ours."""

from django.contrib import admin
from django.urls import URLPattern, path

from customers.admin import ReadOnlyAdmin
from wxwork.models import ApiLimit
from wxwork.pages import limits


@admin.register(ApiLimit)
class ApiLimitAdmin(ReadOnlyAdmin):
    """Entry in menus and permissions: there is no table."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("", view(limits.limits_page), name="wxwork_apilimit_changelist"),
            path("retry/", view(limits.retry), name="wxwork_apilimit_retry"),
        ]
