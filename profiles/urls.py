"""Paths below /api/v1/, in front of those of customers (see customers.urls)."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
