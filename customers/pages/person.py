"""A customer's page: who they are, who follows them, what we noted; other apps add theirs (sections.py)."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import wraps
from itertools import groupby
from typing import Any, Concatenate, ParamSpec

import orjson
from django.contrib.auth import get_user_model
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.dateparse import parse_datetime

from customers.identity import digest
from customers.lookup import find_customer, resolve_alias, shown
from customers.models import Customer, DirectoryEntry, Erasure
from customers.notes import list_notes
from customers.organisation import organisation
from customers.pages.access import actor_of, requires, scope_of_user
from customers.pages.rendering import render_page
from customers.pages.sections import render_sections, section
from customers.presentation import present
from customers.vocabulary import add_way_name, lost_by_name
from scrm import sharding
from scrm.sharding import ids

NOTES = 10
P = ParamSpec("P")
PersonView = Callable[Concatenate[HttpRequest, dict[str, Any], P], HttpResponseBase]


class _ElsewhereError(Exception):
    """The customer is to be looked for at another address."""

    def __init__(self, *to: Any) -> None:
        self.to = to


def find_person(request: HttpRequest, customer_id: int) -> dict[str, Any]:
    """Return a customer whom this user may see, mobiles in clear.

    Database: one query on control, two on the home's. Raises Http404, UnknownHomeError, HomeUnavailableError.
    """
    if not ids.is_valid(customer_id):
        raise Http404("没有这位客户")
    entry = DirectoryEntry.objects.filter(customer_id=customer_id).first()
    if entry is None:
        now_at = resolve_alias(customer_id)
        if now_at == customer_id:
            raise Http404("没有这位客户，可能已被删除")
        raise _ElsewhereError("admin:customers_customer_change", now_at)
    if entry.state == DirectoryEntry.State.ERASING:
        erasure = Erasure.objects.filter(digest=digest(entry.external_userid), state=Erasure.State.RUNNING).first()
        if erasure is not None and request.user.has_perm("customers.view_erasure"):
            raise _ElsewhereError("admin:customers_erasure_change", erasure.pk)
        raise Http404("这位客户正在被删除")
    customer, _is_free = find_customer(customer_id)
    if customer is None and entry.target_customer_id:
        customer, _is_free = find_customer(entry.target_customer_id)
    if customer is None or not scope_of_user(request.user).admits(customer):
        raise Http404("没有这位客户")
    return customer


def of_person(permission: str) -> Callable[[PersonView[P]], Callable[..., HttpResponseBase]]:
    """Give a view the customer instead of the id; go after who was moved; answer 503 while the home is down."""

    def decorate(view: PersonView[P]) -> Callable[..., HttpResponseBase]:
        @requires(permission)
        @wraps(view)
        def found(request: HttpRequest, customer_id: int, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            try:
                return view(request, find_person(request, customer_id), *args, **kwargs)
            except _ElsewhereError as elsewhere:
                return redirect(*elsewhere.to)
            except (sharding.HomeUnavailableError, sharding.UnknownHomeError) as error:
                context = {"home": error.home, "is_unknown": isinstance(error, sharding.UnknownHomeError)}
                return render_page(request, "customers/down.html", "暂时无法查看", context, status=503)

        return found

    return decorate


@of_person("view_customer")
def person_page(request: HttpRequest, customer: dict[str, Any]) -> HttpResponseBase:
    """Show a customer. Database: see find_person, and what the sections ask."""
    presented = presentable(request, customer)
    user: Any = request.user
    return render_page(
        request,
        "customers/person.html",
        customer["name"] or customer["external_userid"],
        {
            "customer": presented,
            "main": render_sections(request, presented, side=False),
            "side": render_sections(request, presented, side=True),
            "can": {name: user.has_perm(f"customers.{name}_customer") for name in ("change", "delete", "move")},
            "other_homes": len(sharding.shard_map().homes) > 1,
        },
    )


def presentable(request: HttpRequest, customer: Mapping[str, Any]) -> dict[str, Any]:
    """Return a customer as pages show one: mobiles masked, and names for numbers."""
    presented = present(shown(dict(customer)), scope_of_user(request.user))
    company = organisation()
    for follow in presented["follows"]:
        follow["staff"] = company.staff_names.get(follow["userid"], follow["userid"])
        departments = company.departments_of.get(follow["userid"], ())
        follow["departments"] = "、".join(
            company.department_names[d] for d in departments if d in company.department_names
        )
        follow["way"] = add_way_name(follow["add_way"])
        follow["lost_by_name"] = lost_by_name(follow["lost_by"])
    return {
        **presented,
        "bucket": sharding.bucket_of(customer["customer_id"]),
        "type_name": Customer.Type(customer["type"]).label,
        "gender_name": Customer.Gender(customer["gender"]).label,
        "synced_at": customer["synced_at"],
        "own_tag_ids": list(customer["own_tag_ids"]),
    }


@section("follows", order=10)
def follows(request: HttpRequest, customer: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Who follows a customer, the live ones first."""
    live = [one for one in customer["follows"] if one["lost_at"] is None]
    lost = [one for one in customer["follows"] if one["lost_at"] is not None]
    return "customers/follows.html", {
        "live": live,
        "lost": lost,
        "can_view_mobile": request.user.has_perm("customers.view_mobile"),
    }


@section("notes", order=20)
def notes(request: HttpRequest, customer: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """What staff wrote down. Database: one query on the home's, one on control for the authors' names."""
    return "customers/notes.html", {
        **notes_context(request, customer["customer_id"]),
        "can_write": request.user.has_perm("customers.change_customer"),
    }


def notes_context(request: HttpRequest, customer_id: int, before: datetime | None = None) -> dict[str, Any]:
    found = list_notes(customer_id, before=before, limit=NOTES + 1)
    page = found[:NOTES]
    names = {
        user.get_username(): user.get_full_name() or user.get_username()
        for user in get_user_model().objects.filter(username__in={note.author for note in page})
    }
    return {
        "notes": [{"note": note, "author": names.get(note.author, note.author)} for note in page],
        "me": actor_of(request),
        "older": page[-1].created_at.isoformat() if len(found) > NOTES else None,
    }


@of_person("view_customer")
def older_notes(request: HttpRequest, customer: dict[str, Any]) -> HttpResponseBase:
    """Return the notes before a moment, as a piece of the page."""
    before = _moment(request.GET.get("before", ""))
    context = {
        **notes_context(request, customer["customer_id"], before),
        "customer": customer,
        "can_write": request.user.has_perm("customers.change_customer"),
    }
    return TemplateResponse(request, "customers/notes_items.html", context)


def _moment(text: str) -> datetime | None:
    try:
        return parse_datetime(text)
    except ValueError:
        raise Http404("没有这个时间") from None


@section("fields", order=20, is_side=True)
def fields(request: HttpRequest, customer: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The customer's fields, by who owns them."""
    return "customers/fields.html", {
        "attributes": {key: attribute_text(value) for key, value in sorted(customer["attributes"].items())},
        "mobiles": [customer["mobile"]],
        "can_view_mobile": request.user.has_perm("customers.view_mobile"),
    }


@section("tags", order=15, is_side=True)
def tags(request: HttpRequest, customer: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Tags by group; our own are told from those of WeCom."""
    ordered = sorted(customer["tags"], key=lambda tag: (tag["group"] == "", tag["group"], tag["name"]))
    return "customers/tags.html", {
        "groups": [(group, list(members)) for group, members in groupby(ordered, key=lambda tag: tag["group"])],
        "own": set(customer["own_tag_ids"]),
    }


def attribute_text(value: Any) -> str:
    """Return an attribute's value as it is shown and edited: text as it is, anything else as JSON.

    >>> attribute_text("金卡"), attribute_text(3), attribute_text({"a": [1]})
    ('金卡', '3', '{"a":[1]}')
    """
    return value if isinstance(value, str) else orjson.dumps(value).decode()
