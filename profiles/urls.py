"""Paths below /api/v1/, in front of those of customers (see customers.urls)."""

from django.urls import path

from customers import urls as customers  # noqa: F401 - has the converter any_text
from profiles.views import BehavioursView, ProfileView, RunsView, RunView, SummaryView

urlpatterns = [
    path("customers/<any_text:external_userid>/profile/", ProfileView.as_view(), name="customer-profile"),
    path("behaviors/", BehavioursView.as_view(), name="behaviors"),
    path("profiles/summary/", SummaryView.as_view(), name="profiles-summary"),
    path("profiles/runs/", RunsView.as_view(), name="profiles-runs"),
    path("profiles/runs/<int:run_id>/", RunView.as_view(), name="profiles-run"),
]
