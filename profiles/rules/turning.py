"""What it takes to come from one lifecycle to another. With 30, 90, 180 and 30 days (new, dormant, lost, return):

| to       | from                  | steps       |                                             |
|----------|-----------------------|-------------|---------------------------------------------|
| new      | any                   | none        | the first day only gets older               |
| active   | new, returned         | DO, WAIT 30 | until they are not new, not returned        |
|          | dormant, lost         | DO, WAIT 30 | returned at first                           |
| dormant  | new, active, returned | WAIT 90     | nobody gets there by doing                  |
|          | lost                  | DO, WAIT 90 | returned at first                           |
| lost     | dormant               | WAIT 90     | 180 - 90; nobody gets there by doing        |
|          | new, active, returned | WAIT 180    |                                             |
| returned | dormant, lost         | DO          |                                             |
|          | new, active           | WAIT 91, DO | only who has been away can come back        |
| not X    | new, active, returned | WAIT 30, 90, 30 |                                         |
|          | dormant, lost         | DO          |                                             |

DO is a purchase or an interaction, WAIT days with neither. Steps are enough, not the least: how long somebody has been
what they are is not looked at. Who only waits is there after so many days at the latest.

Of somebody who has never done anything the life begins with the first DO, whenever they were created: they are new
then.

| to       | from                  | steps           |
|----------|-----------------------|-----------------|
| new      | any                   | DO              |
| active   | any                   | DO, WAIT 30     |
| returned | any                   | DO, WAIT 91, DO |

Where settings are so odd that it depends on the first day (new for as long as it takes to be dormant), nothing is told.
"""

from dataclasses import dataclass, field

from .acts import Act, Step
from .settings import LifecycleSettings

DO = (Step(Act.DO),)
UNKNOWN = (Step(Act.BECOME),)
BY_TIME = ("dormant", "lost")  # nobody gets there by doing


@dataclass(frozen=True)
class Life:
    """What a lifecycle goes by besides time: the settings of the rules, and whether somebody has ever done anything."""

    settings: LifecycleSettings = field(default_factory=LifecycleSettings)
    has_begun: bool = True


def steps_to(operator: str, wanted: str, actual: str, life: Life) -> tuple[Step, ...]:
    """Return what makes a lifecycle be, or not be, another than now.

    actual: that of the last run; "" for none.

    >>> [step.act.value for step in steps_to("is", "active", "lost", Life())]
    ['do', 'wait']
    >>> steps_to("is", "lost", "dormant", Life())
    (Step(act=<Act.WAIT: 'wait'>, amount=90),)
    >>> steps_to("is", "new", "active", Life())
    ()
    """
    if not actual:
        return UNKNOWN
    settings = life.settings
    if operator == "is_not":
        return _away_from(actual, settings)
    if wanted == "lost":
        return _wait(settings.lost_days - (settings.dormant_days if actual == "dormant" else 0))
    if wanted == "dormant":
        return (*DO, *_wait(settings.dormant_days)) if actual == "lost" else _wait(settings.dormant_days)
    return _on(wanted, actual, settings) if life.has_begun else _begin(wanted, settings)


def _away_from(actual: str, settings: LifecycleSettings) -> tuple[Step, ...]:
    waits = {"new": settings.new_days, "active": settings.dormant_days, "returned": settings.return_days}
    return _wait(waits[actual]) if actual in waits else DO


def _begin(wanted: str, settings: LifecycleSettings) -> tuple[Step, ...]:
    """Return the steps to new, active or returned of who has never done anything."""
    new, dormant = settings.new_days, settings.dormant_days
    if wanted == "new":
        return DO
    if wanted == "active":
        return (*DO, *_wait(new)) if new < dormant else UNKNOWN
    return (*DO, *_wait(dormant + 1), *DO) if new <= dormant + 1 else UNKNOWN


def _on(wanted: str, actual: str, settings: LifecycleSettings) -> tuple[Step, ...]:
    """Return the steps to new, active or returned of who has done something before."""
    new, dormant, back = settings.new_days, settings.dormant_days, settings.return_days
    # Whether somebody who was away is new again, as their first day is not long ago.
    may_be_new = new > {"dormant": dormant, "lost": settings.lost_days}.get(actual, new)
    if wanted == "new":
        return UNKNOWN if may_be_new else ()
    if may_be_new:
        return UNKNOWN
    if wanted == "returned":
        if actual in BY_TIME:
            return DO
        return UNKNOWN if actual == "new" and new > dormant + 1 else (*_wait(dormant + 1), *DO)
    if actual == "new":
        return UNKNOWN if new >= dormant else (*DO, *_wait(new))
    return (*DO, *_wait(back), *(DO if back >= dormant else ()))


def _wait(days: int) -> tuple[Step, ...]:
    return (Step(Act.WAIT, days),)


def words_of(steps: tuple[Step, ...], operator: str, wanted: str, actual: str, life: Life) -> str:
    """Return steps in 中文. operator, wanted, actual, life: as steps_to was given them.

    >>> life = Life()
    >>> words_of(steps_to("is", "active", "lost", life), "is", "active", "lost", life)
    '购买或互动一次（先成为回流客户），然后等 30 天'
    >>> words_of(steps_to("is", "lost", "active", life), "is", "lost", "active", life)
    '无需操作，自然达到：最多等 180 天，其间没有购买和互动'
    """
    if not steps:
        return "不再可能"
    said = [_step_in_words(step, is_again=place > 0) for place, step in enumerate(steps)]
    # Where time alone leads there, doing something between would undo it; elsewhere the days only have to pass.
    is_quiet = operator == "is" or actual == "active"
    if is_quiet and (wanted in (*BY_TIME, "returned") or steps[0].act is Act.WAIT):
        said = [
            f"{text}，其间没有购买和互动" if step.act is Act.WAIT else text
            for text, step in zip(said, steps, strict=True)
        ]
    if len(said) > 1 and steps[0].act is Act.DO and not life.has_begun:
        said[0] += "（先成为新客）"
    elif len(said) > 1 and actual in BY_TIME:
        said[0] += "（先成为回流客户）"
    if len(steps) == 1 and steps[0].act is Act.WAIT:
        said[0] = "最多" + said[0]
        return f"无需操作，自然达到：{said[0]}" if operator == "is" else said[0]
    return "，然后".join(said)


def _step_in_words(step: Step, *, is_again: bool) -> str:
    if step.act is Act.WAIT:
        return f"等 {step.amount} 天"
    return "再购买或互动一次" if is_again else "购买或互动一次"
