from django.contrib import admin
from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from scrm import health
from scrm.api.views import no_such_endpoint

handler400 = "scrm.api.views.handler400"
handler404 = "scrm.api.views.handler404"
handler500 = "scrm.api.views.handler500"

urlpatterns = [
    path("admin/profiles/recommendation/", include("profiles.pages.urls")),
    path("admin/", admin.site.urls),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.metrics, name="metrics"),
    path("", include("wxwork.urls")),
    path("api/v1/", include("profiles.urls")),
    path("api/v1/", include("customers.urls")),
    path("api/v1/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/v1/docs/", SpectacularSwaggerView.as_view(), name="docs"),
    re_path(r"^api/", no_such_endpoint),
]
