"""What the REST framework views of every app have in common."""

from typing import Any, ClassVar

import orjson
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import translation
from rest_framework.request import Request
from rest_framework.views import APIView

from scrm.api.authentication import ApiKeyAuthentication, HasScope
from scrm.api.keys import KeyHolder
from scrm.api.parsing import StrictJSONParser, read_object


class Endpoint(APIView):
    """A view that asks for a key with a scope and a strict JSON body, and answers JSON or a problem.

    required_scopes: {method: scope}. max_body_bytes: of a body, also once unpacked.
    """

    authentication_classes = [ApiKeyAuthentication]
    permission_classes = [HasScope]
    parser_classes = [StrictJSONParser]
    metadata_class = None  # OPTIONS is a method like others that are not there: 405
    required_scopes: ClassVar[dict[str, str]] = {}
    max_body_bytes = 256 * 1024

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        # What is wrong is told to programmers, in one language; codes are what programs go by.
        with translation.override("en"):
            return super().dispatch(request, *args, **kwargs)

    def read(self, request: Request) -> dict[str, Any]:
        """Return the body, a JSON object. REST framework's request.data takes no body for an empty one."""
        return read_object(request._request, max_bytes=self.max_body_bytes)


def holder_of(request: Request) -> KeyHolder:
    """Return whose key a request came with; HasScope has seen to it that there is one."""
    holder: KeyHolder = request.auth  # type: ignore[assignment]
    return holder


def answer(value: Any, *, status: int = 200, **headers: str) -> HttpResponse:
    """Return an answer in JSON. headers: with _ for -, as in Location or X_Cache."""
    return HttpResponse(
        orjson.dumps(value),
        status=status,
        content_type="application/json",
        headers={name.replace("_", "-"): text for name, text in headers.items()}
        | {"Cache-Control": "private, no-cache"},
    )
