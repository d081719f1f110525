"""Answer with a page of profiles within the admin's frame."""

from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.template.response import TemplateResponse


def render_page(
    request: HttpRequest, template: str, title: str, model: type[Model], context: dict[str, Any]
) -> TemplateResponse:
    """Return a page below a model in the breadcrumbs."""
    site = admin.site
    return TemplateResponse(
        request,
        template,
        {**site.each_context(request), "title": title, "model_admin": site._registry[model], **context},
    )
