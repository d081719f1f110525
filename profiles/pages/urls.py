"""Pages of the admin that belong to no ModelAdmin: a model with a key of several columns cannot have one."""

from django.contrib import admin
from django.urls import path

from profiles.pages import recommendations

app_name = "recommendations"
urlpatterns = [
    path("", admin.site.admin_view(recommendations.work_list), name="work"),
    path(
        "<int:customer_id>/<uuid:recommendation_id>/",
        admin.site.admin_view(recommendations.decide_page),
        name="decide",
    ),
]
