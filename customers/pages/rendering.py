"""Answer with a page of the admin that is not a ModelAdmin's."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.template.response import TemplateResponse

from customers.models import Customer


def render_page(
    request: HttpRequest, template: str, title: str, context: dict[str, Any], *, status: int = 200
) -> TemplateResponse:
    """Return a page within the admin's frame, below 客户 in its breadcrumbs."""
    site = admin.site
    return TemplateResponse(
        request,
        template,
        {**site.each_context(request), "title": title, "model_admin": site._registry[Customer], **context},
        status=status,
    )
