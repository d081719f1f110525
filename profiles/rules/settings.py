"""What a version of the rules says besides its rules: how long is dormant, and who is compared with whom.

    {"lifecycle": {"new_days": 30, "dormant_days": 90, "lost_days": 180, "return_days": 30},
     "rfm": {"scope": "company"}}

What is not named has its default. A version never changes, so other settings are another version, and the next run
judges everybody by them.
"""

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from .errors import RuleError, members, shown, within

MAX_SETTING_DAYS = 3650
COMPANY, HOME = "company", "home"
SCOPES = {COMPANY: "全公司", HOME: "各归属库"}


@dataclass(frozen=True)
class LifecycleSettings:
    """Days after which somebody is not new any more, is dormant, is lost; within which who came back is returned.

    >>> LifecycleSettings(dormant_days=60, lost_days=60)
    Traceback (most recent call last):
        ...
    profiles.rules.errors.RuleError: 流失天数：要大于沉睡天数 60，不能是 60
    """

    new_days: int = 30
    dormant_days: int = 90
    lost_days: int = 180
    return_days: int = 30

    def __post_init__(self) -> None:
        for one in fields(self):
            days = getattr(self, one.name)
            if type(days) is not int:
                raise RuleError(f"要是整数天数，不能是 {shown(days)}", one.name)
            if not 1 <= days <= MAX_SETTING_DAYS:
                raise RuleError(f"要在 1 到 {MAX_SETTING_DAYS} 天之间，不能是 {days}", one.name)
        if self.lost_days <= self.dormant_days:
            raise RuleError(f"要大于沉睡天数 {self.dormant_days}，不能是 {self.lost_days}", "lost_days")
        if self.return_days > self.dormant_days:
            raise RuleError(f"不能大于沉睡天数 {self.dormant_days}，这里是 {self.return_days}", "return_days")


@dataclass(frozen=True)
class Settings:
    """lifecycle; rfm_scope: whether scores compare customers of the whole company, or of each home."""

    lifecycle: LifecycleSettings = field(default_factory=LifecycleSettings)
    rfm_scope: str = COMPANY

    def __post_init__(self) -> None:
        if self.rfm_scope not in SCOPES:
            raise RuleError(f"没有 {shown(self.rfm_scope)}，可用的有 {'、'.join(SCOPES)}", "rfm", "scope")


def settings_to_json(settings: Settings) -> dict[str, Any]:
    """Return all settings as they are stored with a version.

    >>> settings_from_json(settings_to_json(Settings(rfm_scope="home"))).rfm_scope
    'home'
    """
    return {"lifecycle": asdict(settings.lifecycle), "rfm": {"scope": settings.rfm_scope}}


def settings_from_json(data: object) -> Settings:
    """Return the settings, or raise RuleError with the place of the first mistake.

    >>> settings_from_json({"lifecycle": {"lost_days": 365}}).lifecycle
    LifecycleSettings(new_days=30, dormant_days=90, lost_days=365, return_days=30)
    >>> settings_from_json({"lifecycle": {"new_days": "30"}})
    Traceback (most recent call last):
        ...
    profiles.rules.errors.RuleError: 生命周期 · 新客天数：要是整数天数，不能是 30
    """
    found = members(data, required=(), optional=("lifecycle", "rfm"))
    lifecycle = within(_lifecycle_from_json, found.get("lifecycle", {}), "lifecycle")
    rfm = within(_rfm_from_json, found.get("rfm", {}), "rfm")
    return Settings(lifecycle, rfm)


def _lifecycle_from_json(data: object) -> LifecycleSettings:
    names = tuple(one.name for one in fields(LifecycleSettings))
    found: dict[str, Any] = members(data, required=(), optional=names)
    return LifecycleSettings(**found)


def _rfm_from_json(data: object) -> str:
    scope = members(data, required=(), optional=("scope",)).get("scope", COMPANY)
    if not isinstance(scope, str) or scope not in SCOPES:
        raise RuleError(f"没有 {shown(scope)}，可用的有 {'、'.join(SCOPES)}", "scope")
    return scope
