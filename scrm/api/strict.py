"""Serializers and fields that take a body at its word: no 5 for "5", no field that nobody reads.

REST framework's own coerce: 5 becomes the text "5", "yes" becomes true, a misspelt field is dropped without a sound.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rest_framework import serializers

# Between these every zone can show a moment, and WeCom has no other.
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
# Characters that no line of text holds: control characters and line separators. JSON itself lets no surrogate through.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
UNPRINTABLE_BUT_BREAKS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


class StrictSerializer(serializers.Serializer):
    """Refuses fields that it does not have; those in `kept_by_system` are named as such."""

    kept_by_system: tuple[str, ...] = ()

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            errors = {name[:80]: serializers.ErrorDetail(*self._why(name)) for name in data if name not in self.fields}
            if errors:
                raise serializers.ValidationError(errors)
        return super().to_internal_value(data)

    def _why(self, name: str) -> tuple[str, str]:
        if name in self.kept_by_system:
            return f"{name} is kept by the system: leave it out.", "read_only"
        return f"There is no field {name[:80]}; there are {', '.join(self.fields)}.", "unknown"


class Text(serializers.CharField):
    """A text, kept as it is. may_break: line breaks are allowed."""

    default_error_messages = {
        "not_text": "A text is wanted.",
        "unprintable": "Control characters are not allowed.",
    }

    def __init__(self, *, may_break: bool = False, **kwargs: Any) -> None:
        self._refused = UNPRINTABLE_BUT_BREAKS if may_break else UNPRINTABLE
        super().__init__(trim_whitespace=False, **{"allow_blank": True, **kwargs})

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("not_text")
        if self._refused.search(data):
            self.fail("unprintable")
        return data


class WholeNumber(serializers.IntegerField):
    """An integer, not a text or a truth value that looks like one."""

    default_error_messages = {"not_whole": "A whole number is wanted."}

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("not_whole")
        return data


class Truth(serializers.BooleanField):
    """true or false."""

    default_error_messages = {"not_truth": "true or false is wanted."}

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("not_truth")
        return data


class Moment(serializers.DateTimeField):
    """An ISO 8601 time with an offset."""

    default_error_messages = {
        "no_moment": "A time like 2026-11-23T09:30:00+08:00 is wanted, with its offset.",
        "far": "The time lies before 1970 or after 2200.",
    }

    def to_internal_value(self, value: Any) -> datetime:
        if not isinstance(value, str) or len(value) > 40 or not value.isascii():
            self.fail("no_moment")
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail("no_moment")
        if moment.utcoffset() is None:
            self.fail("no_moment")
        if not EARLIEST <= moment < LATEST:
            self.fail("far")
        return moment


class Day(serializers.DateField):
    """A date like 2026-11-23."""

    def to_internal_value(self, value: Any) -> Any:
        if not isinstance(value, str) or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
            self.fail("invalid", format="YYYY-MM-DD")
        return super().to_internal_value(value)
