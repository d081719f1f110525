"""What answers when nothing else under /api/ does."""

from django import http
from django.urls import Resolver404, resolve
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt

from scrm.api.problems import InternalError, MalformedError, NotFoundError, respond

PREFIX = "/api/"


@csrf_exempt
def no_such_endpoint(request: http.HttpRequest, **_kwargs: object) -> http.HttpResponse:
    """Answer 404 as a problem. The last pattern under /api/, so that DEBUG shows no page of its own there."""
    if not request.path.endswith("/"):
        try:
            found = resolve(request.path + "/")
        except Resolver404:
            found = None
        if found is not None and found.func is not no_such_endpoint:
            return respond(NotFoundError(f"Paths end with a slash: ask for {request.path}/."))
    return respond(NotFoundError("There is no such endpoint; /api/v1/schema/ lists them."))


def handler400(request: http.HttpRequest, exception: Exception) -> http.HttpResponse:
    if request.path_info.startswith(PREFIX):
        return respond(MalformedError())
    return defaults.bad_request(request, exception)


def handler404(request: http.HttpRequest, exception: Exception) -> http.HttpResponse:
    if request.path_info.startswith(PREFIX):
        return respond(NotFoundError())
    return defaults.page_not_found(request, exception)


def handler500(request: http.HttpRequest) -> http.HttpResponse:
    if request.path_info.startswith(PREFIX):
        return respond(InternalError())
    return defaults.server_error(request)
