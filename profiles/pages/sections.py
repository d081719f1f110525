"""What a customer's page shows of profiles: the class and why, and what the customer did."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.utils.dateparse import parse_datetime

from customers.models import DirtyCustomer
from customers.pages.person import attribute_text, of_person
from customers.pages.sections import section
from profiles import publishing
from profiles.models import Behaviour, RunningTotal
from profiles.reasons import describe, explain_change, in_words, list_history, look_ahead, missing_in_words
from profiles.rules import RuleError
from profiles.timeline import Moment, Place, list_behaviours
from profiles.vocabulary import channel_names
from scrm import sharding

BEHAVIOURS = 12
SHOWN_HISTORY = 5
SHOWN_AHEAD = 3
# Keys of `detail` that have a meaning (profiles.behaviours.contents), as people call them.
DETAIL_NAMES = {"items": "商品"}
# The key of `detail` that is shown as the behaviour's own words.
SUMMARY = "说明"
ICONS = {Behaviour.Kind.PURCHASE: "shopping_bag", Behaviour.Kind.INTERACTION: "forum", Behaviour.Kind.REFUND: "undo"}


@section("figures", order=5)
def figures(request: HttpRequest, customer: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The live figures, beside those of the last classification. Database: two queries on the home's."""
    customer_id = customer["customer_id"]
    alias = sharding.alias(customer["home"])
    total = RunningTotal.objects.using(alias).filter(customer_id=customer_id).first()
    live: dict[str, Any] = {"purchase_count": 0, "interaction_count": 0, "total_amount": 0}
    if total is not None:
        live = {
            "purchase_count": total.purchase_count - total.refund_count,
            "interaction_count": total.interaction_count,
            "total_amount": total.purchase_amount - total.refund_amount,
            "last_purchase_at": total.last_purchase_at,
            "last_interaction_at": total.last_interaction_at,
            "first_day": total.first_day,
        }
    return "profiles/figures.html", {
        "live": live,
        "is_dirty": DirtyCustomer.objects.using(alias).filter(customer_id=customer_id).exists(),
    }


@section("profile", order=5, is_side=True)
def profile(request: HttpRequest, customer: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The class, since when, by which rule and numbers, what it would take to be in a better one, and those before.

    Database: on the home's one query, and those that read one customer's facts; four on control.
    """
    history = list_history(customer["customer_id"])
    latest = history[0] if history and history[0].to_profile == customer["profile"] else None
    explanation = explain_change(latest) if latest else None
    tried = [
        {"outcome": outcome, "lines": in_words(outcome.verdicts)}
        for outcome in (explanation.rules if explanation else ())
    ]
    return "profiles/why.html", {
        "latest": latest,
        "explanation": explanation,
        "deciding": tried[-1] if explanation and explanation.position and tried else None,
        "missed": tried[:-1] if explanation and explanation.position else tried,
        "ahead": _ahead(customer["customer_id"]),
        "history": history[:SHOWN_HISTORY],
        "earlier": history[SHOWN_HISTORY:],
    }


def _ahead(customer_id: int) -> dict[str, Any]:
    """Return where the rules in force see a customer now, and what is missing for the classes in front of that."""
    try:
        now, reaches = look_ahead(customer_id, publishing.current())
    except RuleError:
        now, reaches = None, []
    return {
        "now": now,
        "classes": [
            {"profile": one.profile, "is_possible": one.is_possible,
             "missing": [(missing_in_words(gap), describe(gap.condition), gap.is_possible) for gap in one.gaps]}
            for one in sorted(reaches, key=lambda one: not one.is_possible)[:SHOWN_AHEAD]
        ],
    }  # fmt: skip


@section("behaviours", order=30)
def behaviours(request: HttpRequest, customer: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The time line. Database: one or two queries on the home's."""
    return "profiles/behaviours.html", timeline_context(customer["customer_id"], None)


@of_person("view_customer")
def older_behaviours(request: HttpRequest, customer: dict[str, Any]) -> HttpResponseBase:
    """Return the behaviours after a place, as a piece of the page."""
    try:
        occurred_at = parse_datetime(request.GET.get("at", ""))
    except ValueError:
        occurred_at = None
    if occurred_at is None or occurred_at.tzinfo is None:
        raise Http404("没有这个时间")
    place = Place(occurred_at, _text(request, "source"), _text(request, "event"))
    context = timeline_context(customer["customer_id"], place)
    return TemplateResponse(request, "profiles/behaviours_items.html", {"customer": customer, **context})


def _text(request: HttpRequest, name: str) -> str:
    return str(request.GET.get(name, "")).replace("\x00", "")


def timeline_context(customer_id: int, after: Place | None) -> dict[str, Any]:
    moments, place = list_behaviours(customer_id, after=after, limit=BEHAVIOURS)
    older = {"at": place.occurred_at.isoformat(), "source": place.source, "event": place.event_id} if place else None
    return {"behaviours": [_shown(one) for one in moments], "older": urlencode(older) if older else None}


def _shown(moment: Moment) -> dict[str, Any]:
    one = moment.behaviour
    detail = dict(one.detail) if isinstance(one.detail, dict) else {}
    return {
        "kind": one.kind,
        "kind_name": Behaviour.Kind(one.kind).label,
        "icon": ICONS[Behaviour.Kind(one.kind)],
        "channel": channel_names().get(one.channel, one.channel),
        "occurred_at": one.occurred_at,
        "amount": -one.amount if one.kind == Behaviour.Kind.REFUND else one.amount,
        "has_amount": one.kind != Behaviour.Kind.INTERACTION,
        "refunded": moment.refunded,
        "is_whole": moment.refunded is not None and moment.refunded >= one.amount,
        "refers_to": one.refers_to,
        "undoes_purchase": one.undoes_purchase,
        "summary": _detail(detail.pop(SUMMARY)) if SUMMARY in detail else "",
        "detail": [(DETAIL_NAMES.get(key, key), _detail(value)) for key, value in detail.items()],
        "source": one.source,
        "event_id": one.event_id,
    }


def _detail(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(one, dict) and "id" in one for one in value):
        value = [str(one.get("name") or one["id"]) for one in value]
    if isinstance(value, list) and all(isinstance(one, str | int | float) for one in value):
        return "、".join(map(str, value))
    return attribute_text(value)
