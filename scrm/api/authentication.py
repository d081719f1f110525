"""Keys and scopes for REST framework views; plain Django views call keys.authenticate themselves."""

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from scrm.api.keys import KeyHolder, authenticate
from scrm.api.problems import NotAuthenticatedError


class ApiKeyAuthentication(BaseAuthentication):
    """request.user and request.auth are the KeyHolder."""

    def authenticate(self, request: Request) -> tuple[KeyHolder, KeyHolder] | None:
        header = request.META.get("HTTP_AUTHORIZATION")
        if not header:
            return None  # a view that asks nobody's name, such as the docs, goes on
        holder = authenticate(header)
        return holder, holder

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="scrm"'


class HasScope(BasePermission):
    """Let in keys that have what the view asks for.

        class CustomersView(APIView):
            permission_classes = [HasScope]
            required_scopes = {"GET": "customers:read", "PUT": "customers:write"}     or one scope for all methods

    HEAD is a GET; OPTIONS asks for a key only. A method that is not listed is refused by the view itself.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        if not isinstance(request.auth, KeyHolder):
            raise NotAuthenticatedError
        required = getattr(view, "required_scopes", None)
        if required is None:
            raise ImproperlyConfigured(f"{type(view).__name__} has no required_scopes.")
        method = "GET" if request.method == "HEAD" else request.method
        scope = required.get(method) if isinstance(required, dict) else required
        if scope is not None and method != "OPTIONS":
            request.auth.require(scope)
        return True
