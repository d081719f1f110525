"""Paths below /api/v1/, in front of those of customers (see customers.urls)."""

from django.urls import path

from customers import urls as customers  # noqa: F401 - has the converter any_text
from profiles.figure_views import CohortsView, FlowsView, RfmView, SummaryView, TrendsView, ValueView
from profiles.recommendations.views import (
    AcceptView,
    CustomerRecommendationsView,
    DismissView,
    RecommendationsView,
    UndoView,
)
from profiles.rules_views import RulesView
from profiles.segments.views import (
    SegmentHistoryView,
    SegmentMembersView,
    SegmentPreviewView,
    SegmentsView,
    SegmentView,
)
from profiles.views import BehavioursView, ProfileView, RunsView, RunView

urlpatterns = [
    path("segments/", SegmentsView.as_view(), name="segments"),
    path("segments/preview/", SegmentPreviewView.as_view(), name="segments-preview"),
    path("segments/<int:segment_id>/", SegmentView.as_view(), name="segment"),
    path("segments/<int:segment_id>/members/", SegmentMembersView.as_view(), name="segment-members"),
    path("segments/<int:segment_id>/history/", SegmentHistoryView.as_view(), name="segment-history"),
    path("customers/<any_text:external_userid>/profile/", ProfileView.as_view(), name="customer-profile"),
    path(
        "customers/<any_text:external_userid>/recommendations/",
        CustomerRecommendationsView.as_view(),
        name="customer-recommendations",
    ),
    path(
        "customers/<any_text:external_userid>/recommendations/<any_text:recommendation_id>/accept/",
        AcceptView.as_view(),
        name="recommendation-accept",
    ),
    path(
        "customers/<any_text:external_userid>/recommendations/<any_text:recommendation_id>/dismiss/",
        DismissView.as_view(),
        name="recommendation-dismiss",
    ),
    path(
        "customers/<any_text:external_userid>/recommendations/<any_text:recommendation_id>/undo/",
        UndoView.as_view(),
        name="recommendation-undo",
    ),
    path("recommendations/", RecommendationsView.as_view(), name="recommendations"),
    path("behaviors/", BehavioursView.as_view(), name="behaviors"),
    path("profiles/summary/", SummaryView.as_view(), name="profiles-summary"),
    path("profiles/trends/", TrendsView.as_view(), name="profiles-trends"),
    path("profiles/flows/", FlowsView.as_view(), name="profiles-flows"),
    path("profiles/rfm/", RfmView.as_view(), name="profiles-rfm"),
    path("profiles/value/", ValueView.as_view(), name="profiles-value"),
    path("profiles/cohorts/", CohortsView.as_view(), name="profiles-cohorts"),
    path("profiles/rules/", RulesView.as_view(), name="profiles-rules"),
    path("profiles/runs/", RunsView.as_view(), name="profiles-runs"),
    path("profiles/runs/<int:run_id>/", RunView.as_view(), name="profiles-run"),
]
