"""Paths below /api/v1/. An external_userid may hold a slash (%2F), so the paths with a fixed end come first:
one that ends in `/profile`, or begins with `by-id/`, cannot be named in a path."""

from django.urls import path

from customers.views import AddressView, CustomersView, CustomerView, ErasureView

urlpatterns = [
    path("customers/", CustomersView.as_view(), name="customers"),
    path("customers/by-id/<str:customer_id>/", AddressView.as_view(), name="customer-address"),
    path("customers/<path:external_userid>/", CustomerView.as_view(), name="customer"),
    path("erasures/<uuid:erasure_id>/", ErasureView.as_view(), name="erasure"),
]
