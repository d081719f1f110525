"""Tables of behaviours, classes, runs, scores, segments, recommendations and figures, by their subject."""

from profiles.models.behaviours import (
    Behaviour,
    BehaviourKey,
    CustomerItem,
    DailyTotal,
    DayZone,
    RunningTotal,
    Totals,
    WaitingBehaviour,
)
from profiles.models.classes import FactHistory, ProfileHistory, ProfileReview, Rule, RuleVersion
from profiles.models.figures import DailyFigure
from profiles.models.recommendations import (
    Action,
    HomeItems,
    ItemAffinity,
    Recommendation,
    RecommendationRule,
)
from profiles.models.runs import BucketState, ProfileRun, RunClaim
from profiles.models.scores import CustomerScore
from profiles.models.segments import (
    DeletedSegment,
    JudgedDepartment,
    Segment,
    SegmentChange,
    SegmentDay,
    SegmentMember,
    StaffChange,
)

__all__ = [
    "Action",
    "Behaviour",
    "BehaviourKey",
    "BucketState",
    "CustomerItem",
    "CustomerScore",
    "DailyFigure",
    "DailyTotal",
    "DayZone",
    "DeletedSegment",
    "FactHistory",
    "HomeItems",
    "ItemAffinity",
    "JudgedDepartment",
    "ProfileHistory",
    "ProfileReview",
    "ProfileRun",
    "Recommendation",
    "RecommendationRule",
    "Rule",
    "RuleVersion",
    "RunClaim",
    "RunningTotal",
    "Segment",
    "SegmentChange",
    "SegmentDay",
    "SegmentMember",
    "StaffChange",
    "Totals",
    "WaitingBehaviour",
]
