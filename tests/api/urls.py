"""Endpoints that fail in every way, for the tests of problems and keys."""

from typing import Any

from django import http
from django.core import exceptions
from django.db import OperationalError
from django.urls import path, re_path
from django.views.decorators.csrf import csrf_exempt
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, Throttled, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from scrm import sharding
from scrm.api.authentication import HasScope
from scrm.api.keys import authenticate
from scrm.api.parsing import StrictJSONParser, read_json
from scrm.api.problems import ConflictError, InvalidError, answers_problems
from scrm.api.views import no_such_endpoint

SECRET = "postgres://scrm:hunter2@10.0.0.5/scrm"

FAILURES: dict[str, Exception] = {
    "problem": ConflictError("Somebody else was faster.", code="version_conflict", version=7),
    "invalid": InvalidError.of("limit", "out_of_range", "limit must be an integer from 1 to 500."),
    "home": sharding.HomeUnavailableError(101),
    "unknown-home": sharding.UnknownHomeError(102),
    "no-id": sharding.InvalidCustomerIdError("-1 is not a customer_id."),
    "database": OperationalError(f"connection to {SECRET} failed"),
    "bug": KeyError(SECRET),
    "unroutable": sharding.UnroutableError(SECRET),
    "not-found": http.Http404(SECRET),
    "denied": exceptions.PermissionDenied(SECRET),
    "too-big": exceptions.RequestDataTooBig(SECRET),
    "suspicious": exceptions.SuspiciousOperation(SECRET),
    "throttled": Throttled(wait=2.3),
    "validation": ValidationError({"name": [ErrorDetail("No.", code="blank")]}),
}


class ItemSerializer(serializers.Serializer[Any]):
    userid = serializers.CharField()


class ThingSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=3)
    tags = serializers.ListField(child=serializers.IntegerField(), required=False)
    code = serializers.CharField(required=False)
    items = ItemSerializer(many=True, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["name"] == "bad":
            raise serializers.ValidationError("Not bad.", code="bad")
        return attrs


class ThingView(APIView):
    permission_classes = [HasScope]
    parser_classes = [StrictJSONParser]
    required_scopes = {"GET": "customers:read", "POST": "customers:write"}
    max_body_bytes = 1_000

    def get(self, request: Request) -> Response:
        return Response({"key": request.auth.name, "departments": list(request.auth.department_ids)})

    def post(self, request: Request) -> Response:
        serializer = ThingSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        return Response(serializer.data)


class OneScopeView(APIView):
    permission_classes = [HasScope]
    required_scopes = "pii:read"

    def get(self, request: Request) -> Response:
        return Response({})


class OpenView(APIView):
    permission_classes = []

    def get(self, request: Request) -> Response:
        return Response({"auth": request.auth})


class FailingView(APIView):
    authentication_classes = []
    permission_classes = []

    def get(self, request: Request, name: str) -> Response:
        raise FAILURES[name]


@csrf_exempt
@answers_problems
def plain_failing(request: http.HttpRequest, name: str) -> http.HttpResponse:
    raise FAILURES[name]


@csrf_exempt
@answers_problems
def plain(request: http.HttpRequest) -> http.HttpResponse:
    holder = authenticate(request.headers.get("Authorization"))
    holder.require("customers:read")
    body = read_json(request, max_bytes=1_000) if request.method == "POST" else None
    return http.JsonResponse({"key": holder.name, "body": body})


def unguarded(request: http.HttpRequest) -> http.HttpResponse:
    raise KeyError(SECRET)


urlpatterns = [
    path("api/things/", ThingView.as_view()),
    path("api/one-scope/", OneScopeView.as_view()),
    path("api/open/", OpenView.as_view()),
    path("api/fails/<name>/", FailingView.as_view()),
    path("api/plain-fails/<name>/", plain_failing),
    path("api/plain/", plain),
    path("api/unguarded/", unguarded),
    path("other/unguarded/", unguarded),
    re_path(r"^api/", no_such_endpoint),
]
handler400 = "scrm.api.views.handler400"
handler404 = "scrm.api.views.handler404"
handler500 = "scrm.api.views.handler500"
