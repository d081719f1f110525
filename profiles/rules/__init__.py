"""Rules that put a customer in a class, and filters of segments. Pure: no Django, no database, numpy only to judge.

fields.py       what a condition may be about, and the facts that each reads
conditions.py   a Condition that exists is valid
rulesets.py     rules in their order; a Rule or RuleSet that exists is valid
settings.py     what a version says besides its rules
filters.py      groups of conditions, for segments and recommendations
needs.py        which facts some conditions read
text.py         `purchase_count > 5 and interaction_count@store[90d] > 10`, read and written; conditions in 中文
judging.py      whole columns judged, the date on which time alone may change the answer, and why
lifecycle.py    new, active, dormant, lost, returned
"""

from . import lifecycle
from .conditions import Condition, conditions_from_json, conditions_to_json
from .errors import RuleError, place_in_words
from .fields import (
    FIELDS,
    LIFECYCLES,
    LOSS_WARNINGS,
    RFM_SEGMENTS,
    RULE,
    SEGMENT,
    Fact,
    Field,
    Kind,
    is_amount,
    read_key,
)
from .filters import Filter, holds
from .judging import (
    CentFacts,
    Explanation,
    MissingFactError,
    Outcome,
    RuleOutcome,
    Verdict,
    evaluate,
    explain,
    review_on,
)
from .needs import Needs, needs_of
from .rulesets import DEFAULT_RULE_SET, Rule, RuleSet, from_json, read_leniently, to_json
from .settings import LifecycleSettings, Settings, settings_from_json, settings_to_json
from .text import RuleSyntaxError, describe_condition, format_conditions, parse_conditions

__all__ = [
    "DEFAULT_RULE_SET",
    "FIELDS",
    "LIFECYCLES",
    "LOSS_WARNINGS",
    "RFM_SEGMENTS",
    "RULE",
    "SEGMENT",
    "CentFacts",
    "Condition",
    "Explanation",
    "Fact",
    "Field",
    "Filter",
    "Kind",
    "LifecycleSettings",
    "MissingFactError",
    "Needs",
    "Outcome",
    "Rule",
    "RuleError",
    "RuleOutcome",
    "RuleSet",
    "RuleSyntaxError",
    "Settings",
    "Verdict",
    "conditions_from_json",
    "conditions_to_json",
    "describe_condition",
    "evaluate",
    "explain",
    "format_conditions",
    "from_json",
    "holds",
    "is_amount",
    "lifecycle",
    "needs_of",
    "parse_conditions",
    "place_in_words",
    "read_key",
    "read_leniently",
    "review_on",
    "settings_from_json",
    "settings_to_json",
    "to_json",
]
