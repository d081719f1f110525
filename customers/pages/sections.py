"""What a customer's page shows. Apps above this one register theirs when they load; this one knows none of them.

@section("behaviours", order=30, permission="profiles.view_behaviour")
def behaviours(request, customer): return "profiles/behaviours.html", {"behaviours": …}
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

Render = Callable[[HttpRequest, Mapping[str, Any]], tuple[str, dict[str, Any]]]


@dataclass(frozen=True)
class Section:
    name: str
    order: int
    is_side: bool
    permission: str | None
    render: Render


_sections: dict[str, Section] = {}


def section(
    name: str, *, order: int, is_side: bool = False, permission: str | None = None
) -> Callable[[Render], Render]:
    """Register a section: fn(request, customer as presented, with clear names) -> (template, context).

    is_side: in the narrow column. permission: who has it not does not see the section.
    """

    def register(render: Render) -> Render:
        _sections[name] = Section(name, order, is_side, permission, render)
        return render

    return register


def render_sections(request: HttpRequest, customer: Mapping[str, Any], *, side: bool) -> list[SafeString]:
    """Return the sections of a column, in their order, as this user may see them."""
    found = sorted((one for one in _sections.values() if one.is_side == side), key=lambda one: one.order)
    html = []
    for one in found:
        if one.permission is None or request.user.has_perm(one.permission):
            template, context = one.render(request, customer)
            html.append(render_to_string(template, {"customer": customer, **context}, request=request))
    return html
