"""How often what a rule suggests is accepted: counted at once on control, and anew from the homes' rows in each run.

A decision is a row of the customer's home, its count one of control's; whoever dies between the two leaves a count too
low until the next run. A home that is down leaves the counts as they are. What counts is what is kept: decisions of the
last 400 days about customers who are still there.
"""

from collections import Counter

from django.db.models import F

from profiles.models import Recommendation, RecommendationRule
from scrm import sharding

COUNT = """
SELECT rule_id, state, count(*) FROM recommendations WHERE state IN ('accepted', 'dismissed') GROUP BY rule_id, state
"""
State = Recommendation.State
COLUMNS = {State.ACCEPTED: "accepted", State.DISMISSED: "dismissed"}


def count_decision(rule_id: int, state: str, *, by: int = 1) -> None:
    """Count a decision, or take it back with by=-1. Database: one UPDATE on control."""
    column = COLUMNS[State(state)]
    found = RecommendationRule.objects.filter(pk=rule_id)
    if by < 0:
        found = found.filter(**{f"{column}__gt": 0})
    found.update(**{column: F(column) + by})


def recount() -> list[int]:
    """Count all decisions anew. Returns the homes that are down; then nothing is changed.

    Database: one index scan on each home, one query on control and an UPDATE for each rule whose counts differ.
    """
    answers = sharding.fan_out(_count_home)
    if answers.unavailable:
        return sorted(answers.unavailable)
    total: Counter[tuple[int, str]] = Counter()
    for counted in answers.results.values():
        total.update(counted)
    for rule in RecommendationRule.objects.all():
        found = {column: total[rule.pk, state] for state, column in COLUMNS.items()}
        if found != {column: getattr(rule, column) for column in found}:
            RecommendationRule.objects.filter(pk=rule.pk).update(**found)
    return []


def _count_home(home: int) -> Counter[tuple[int, str]]:
    with sharding.cursor(home) as cursor:
        cursor.execute(COUNT)
        return Counter({(rule_id, state): count for rule_id, state, count in cursor.fetchall()})
