"""What a run found everybody to be worth, and what a customer's page shows of it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django.http import HttpRequest

from customers.pages.sections import section
from profiles.models import FactHistory, ProfileRun
from profiles.rules.settings import COMPANY, HOME
from profiles.value import warnings
from profiles.worth import find_worth, list_facts

LIFECYCLES = {"new": "新客", "active": "活跃", "dormant": "沉睡", "lost": "流失", "returned": "回流"}
FACTS = {"lifecycle": "生命周期", "rfm_segment": "RFM 分群", "loss_warning": "流失预警"}
PARTS = (("recency", "R", "最近购买"), ("frequency", "F", "购买次数"), ("monetary", "M", "累计消费"))
SHOWN_FACTS = 8
CHART_OPTIONS = {
    "animation": False,
    "responsive": True,
    "maintainAspectRatio": False,
    "plugins": {"legend": {"display": True, "labels": {"color": "#9ca3af"}}},
    "scales": {
        "x": {"border": {"display": False}, "ticks": {"color": "#9ca3af"}, "grid": {"display": False}},
        "y": {"border": {"display": False}, "ticks": {"color": "#9ca3af"}, "grid": {}, "beginAtZero": True},
    },
}


@section("worth", order=7, is_side=True)
def worth(request: HttpRequest, customer: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """RFM, value, warning and lifecycle as of the last run, and their changes. Database: two queries on the home's."""
    found = find_worth(customer["customer_id"])
    scores = (found.recency_score, found.frequency_score, found.monetary_score)
    return "profiles/worth.html", {
        "worth": found,
        "lifecycle": LIFECYCLES.get(found.lifecycle or "", found.lifecycle),
        "warning": warnings.NAMES.get(found.loss_warning or "", found.loss_warning),
        "scores": [
            {"letter": letter, "name": name, "score": score, "cells": [place <= (score or 0) for place in range(1, 6)]}
            for (_, letter, name), score in zip(PARTS, scores, strict=True)
        ],
        "facts": [_shown(one) for one in list_facts(customer["customer_id"], SHOWN_FACTS)],
    }


def _shown(change: FactHistory) -> dict[str, Any]:
    return {
        "fact": FACTS.get(change.fact, change.fact),
        "before": _named(change.fact, change.before),
        "after": _named(change.fact, change.after),
        "as_of": change.as_of,
    }


def _named(fact: str, value: str | None) -> str:
    if not value:
        return "无"
    return {"lifecycle": LIFECYCLES, "loss_warning": warnings.NAMES}.get(fact, {}).get(value, value)


def value_context(run: ProfileRun) -> dict[str, Any]:
    """Return what a run's page shows of thresholds and of the value model."""
    model = run.value_model
    context: dict[str, Any] = {"thresholds": _thresholds(run.rfm or {}), "model": model}
    if model is None or "problem" in model:
        return context
    held = model["holdout"]
    context["chart_options"] = json.dumps(CHART_OPTIONS)
    context["calibration"] = json.dumps(_chart(model["calibration"], "实际客户数", "模型客户数"))
    if "rows" in held:
        context["holdout"] = json.dumps(_chart(held["rows"], "实际每人购买", "预计每人购买"))
    context["mean_rate_weeks"] = round(model["alpha"] / model["r"], 1)
    context["lost_percent"] = round(100 * model["a"] / (model["a"] + model["b"]))
    return context


def _chart(rows: Sequence[Mapping[str, Any]], actual: str, expected: str) -> dict[str, Any]:
    sets = ((actual, "actual", "var(--scrm-hue-1)"), (expected, "expected", "var(--scrm-hue-2)"))
    return {
        "labels": [row["x"] for row in rows],
        "datasets": [
            {"label": label, "backgroundColor": colour, "data": [row[key] for row in rows], "borderRadius": 3}
            for label, key, colour in sets
        ],
    }


def _thresholds(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return for each group that is compared the limits of the scores, for people."""
    names = [COMPANY] if found.get("scope") == COMPANY else sorted((n for n in found if n != "scope"), key=int)
    return [
        {
            "name": "全公司" if name == COMPANY else f"dept_{name}",
            "customers": found[name]["customers"],
            "parts": [
                (letter, words, [_limit(part, one) for one in found[name][part]]) for part, letter, words in PARTS
            ],
        }
        for name in names
        if found.get("scope") in (COMPANY, HOME)
    ]


def _limit(part: str, value: Any) -> str:
    if value is None:
        return "—"
    return {"recency": f"≤ {value} 天", "frequency": f"≥ {value} 次", "monetary": f"≥ ¥{value}"}[part]
