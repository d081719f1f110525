"""What somebody can do, or wait for, so that a condition holds: the steps of profiles.rules.reaching."""

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum


class Act(Enum):
    MORE = "more"  # that many more purchases, yuan, …
    FEWER = "fewer"  # follows only
    DO = "do"  # once, today
    WAIT = "wait"  # days, in which nothing of the kind happens
    TAG = "tag"
    UNTAG = "untag"
    BECOME = "become"  # a state, by whatever leads to it


@dataclass(frozen=True)
class Step:
    act: Act
    amount: int | Decimal = 1
