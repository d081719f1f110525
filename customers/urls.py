"""Paths below /api/v1/. An external_userid may hold a slash (%2F), so the paths with a fixed end come first:
one that ends in `/profile`, or begins with `by-id/`, cannot be named in a path."""

from django.urls import path, register_converter
from django.urls.converters import StringConverter

from customers.identity_views import IdentitiesView
from customers.views import AddressView, CustomersView, CustomerView, ErasureView


class AnyText(StringConverter):
    """Whatever a path can hold, slashes and line breaks too: what is no external_userid is told so by the view."""

    regex = r"[\s\S]+"


register_converter(AnyText, "any_text")

urlpatterns = [
    path("customers/", CustomersView.as_view(), name="customers"),
    path("customers/by-id/<str:customer_id>/", AddressView.as_view(), name="customer-address"),
    path("customers/<any_text:external_userid>/", CustomerView.as_view(), name="customer"),
    path("identities/", IdentitiesView.as_view(), name="identities"),
    path("erasures/<uuid:erasure_id>/", ErasureView.as_view(), name="erasure"),
]
