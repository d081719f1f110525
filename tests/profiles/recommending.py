"""Make customers to suggest something for, judge them as a night does, and look at what is stored."""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from customers.directory import addresses, upsert_many
from customers.records import CustomerData, FollowData
from profiles.facts import FactReader
from profiles.models import CustomerItem, ItemAffinity, ProfileRun, Recommendation, RecommendationRule, RuleVersion
from profiles.recommendations import rules
from profiles.recommendations.part import RecommendationPart
from profiles.segments.part import as_of_now
from scrm import sharding

ALWAYS = [[{"field": "purchase_count", "operator": ">=", "value": 0}]]
BUYERS = [[{"field": "purchase_count", "operator": ">=", "value": 1}]]


def only_rule(**values: Any) -> RecommendationRule:
    """Save a rule that is the only one."""
    RecommendationRule.objects.all().delete()
    return rule(**values)


def rule(name: str = "规则", action: str = "thank", **values: Any) -> RecommendationRule:
    given: dict[str, Any] = {"groups": ALWAYS, "reason": "买过 {purchase_count} 次", **values}
    return rules.save_rule({"name": name, "action": action, **given})


def people(*external_userids: str, home: int = 100, staff: str | None = None) -> list[int]:
    follows = (FollowData(staff),) if staff else ()
    upsert_many([CustomerData(one, {"name": one}, home=home, follows=follows) for one in external_userids])
    there = addresses(external_userids)
    return [there[one] for one in external_userids]


def a_run(as_of: date = date(2026, 11, 20)) -> ProfileRun:
    """A run's row, for what wants its number only."""
    return ProfileRun.objects.create(
        kind="manual", as_of=as_of, rule_version=RuleVersion.objects.get(), homes=[100, 101], state="done"
    )


def suggest(
    run: ProfileRun | None = None, homes: Iterable[int] = (100, 101), buckets: Sequence[int] = range(10)
) -> int:
    """Do what phase 3 does about suggestions, with every customer. Returns how many were written."""
    run = run or a_run()
    written = 0
    for home in homes:
        for bucket in buckets:
            part = RecommendationPart(run, home, bucket)
            if not part.is_active:
                continue
            reader = FactReader(home, bucket, rules_as_of(), part.needs)
            picked = reader.pick(0, 10_000)
            if picked is None:
                continue
            with sharding.atomic_home(home), sharding.cursor(home) as cursor:
                block = reader.read_picked(picked)
                judged = part.judge(block)
                rows = judged.touched.nonzero()[0]
                if len(rows):
                    written += part.write(cursor, judged, rows)
    return written


def rules_as_of() -> date:
    return as_of_now()


def stored(homes: Iterable[int] = (100, 101), **filters: Any) -> list[Recommendation]:
    """Return all suggestions, in order of customer and rule."""
    found = [one for home in homes for one in Recommendation.objects.using(sharding.alias(home)).filter(**filters)]
    return sorted(found, key=lambda one: (one.customer_id, one.rule_id, one.made_at))


def states(customer_id: int) -> list[str]:
    rows = Recommendation.objects.using(sharding.alias(sharding.home_of(customer_id))).filter(customer_id=customer_id)
    return [one.state for one in rows.order_by("made_at", "state")]


def bought(customer_id: int, *items: str, day: date = date(2026, 11, 1)) -> None:
    """Fold items as ingestion does."""
    with sharding.atomic(customer_id) as alias:
        CustomerItem.objects.using(alias).bulk_create(
            CustomerItem(
                customer_id=customer_id, bucket=sharding.bucket_of(customer_id), item_id=item, name=f"名{item}",
                purchases=1, last_day=day,
            )
            for item in items
        )  # fmt: skip


def affinities() -> dict[tuple[str, str], tuple[int, float]]:
    return {(one.item_id, one.other_id): (one.together, one.score) for one in ItemAffinity.objects.all()}
