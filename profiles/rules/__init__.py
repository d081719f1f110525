"""Rules that put a customer in a class. Pure: no Django, no database, numpy only while judging.

conditions.py   the vocabulary; a Condition, Rule or RuleSet that exists is valid
text.py         `purchase_count > 5 and interaction_count[90d] > 10`, read and written
judging.py      whole columns judged, the date on which time alone may change the answer, and why
"""

from .conditions import (
    DEFAULT_RULE_SET,
    FIELDS,
    Condition,
    Field,
    Kind,
    Rule,
    RuleError,
    RuleSet,
    conditions_from_json,
    conditions_to_json,
    from_json,
    needed_columns,
    needed_tags,
    needed_windows,
    needs_follows,
    to_json,
)
from .judging import Explanation, MissingFactError, Outcome, RuleOutcome, Verdict, evaluate, explain, review_on
from .text import RuleSyntaxError, describe_condition, format_conditions, parse_conditions

__all__ = [
    "DEFAULT_RULE_SET",
    "FIELDS",
    "Condition",
    "Explanation",
    "Field",
    "Kind",
    "MissingFactError",
    "Outcome",
    "Rule",
    "RuleError",
    "RuleOutcome",
    "RuleSet",
    "RuleSyntaxError",
    "Verdict",
    "conditions_from_json",
    "conditions_to_json",
    "describe_condition",
    "evaluate",
    "explain",
    "format_conditions",
    "from_json",
    "needed_columns",
    "needed_tags",
    "needed_windows",
    "needs_follows",
    "parse_conditions",
    "review_on",
    "to_json",
]
