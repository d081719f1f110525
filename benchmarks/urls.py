from django.http import HttpRequest, HttpResponse
from django.urls import path

from scrm.urls import urlpatterns as product

CONSTANT = b'{"constant":true}' + b" " * 850  # about as many bytes as a customer


def constant(_request: HttpRequest) -> HttpResponse:
    return HttpResponse(CONSTANT, content_type="application/json")


urlpatterns = [path("constant/", constant), *product]
