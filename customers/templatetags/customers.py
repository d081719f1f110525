"""How customers look in the admin: classes, avatars, money and moments."""

import unicodedata
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zlib import crc32

from django import template
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html
from django.utils.safestring import SafeString

from customers.counts import HUES, known_classes

register = template.Library()
NONE = "—"


@register.simple_tag
def class_badge(name: str | None) -> SafeString:
    """Show a class in its colour; without one, that there is none yet."""
    if not name:
        return format_html('<span class="scrm-badge is-none"><span>{}</span></span>', "未分类")
    hue = known_classes().get(name, crc32(name.encode()) % HUES)
    return format_html('<span class="scrm-badge scrm-hue-{}" title="{}"><span>{}</span></span>', hue, name, name)


@register.simple_tag
def avatar(name: str, *, large: bool = False) -> SafeString:
    """Draw an avatar from a name: its last character in Chinese, else its first."""
    return format_html(
        '<span class="scrm-avatar scrm-hue-{}{}" aria-hidden="true">{}</span>',
        crc32(name.encode()) % HUES, " is-large" if large else "", initial(name),
    )  # fmt: skip


def initial(name: str) -> str:
    """Return the character that stands for a name.

    >>> initial("王小明"), initial("lily"), initial("向日葵🌻"), initial("")
    ('明', 'L', '葵', '客')
    """
    letters = [letter for letter in name if unicodedata.category(letter).startswith("L")]
    if not letters:
        return name[:1] or "客"
    last = letters[-1]
    return last if "CJK" in unicodedata.name(last, "") else letters[0].upper()


@register.filter
def money(amount: Decimal | str | float | None) -> str:
    """Show an amount in yuan.

    >>> money("1234.5"), money(None), money("-3")
    ('¥1,234.50', '—', '-¥3.00')
    """
    if amount is None or amount == "":
        return NONE
    value = Decimal(str(amount))
    return f"{'-' if value < 0 else ''}¥{abs(value):,.2f}"


@register.filter
def count(number: int | None) -> str:
    """Show a number with its thousands apart; Django's own way in Chinese has no sign between them.

    >>> count(1234567), count(None)
    ('1,234,567', '—')
    """
    return NONE if number is None else f"{number:,}"


def _moment(value: Any) -> datetime | None:
    return parse_datetime(value) if isinstance(value, str) else value


@register.filter
def moment(value: datetime | str | None) -> str:
    """Show a moment (or its ISO text) to the minute, in the local zone."""
    at = _moment(value)
    return timezone.localtime(at).strftime("%Y-%m-%d %H:%M") if at else NONE


@register.filter
def day(value: datetime | date | str | None) -> str:
    """Show the day of a moment, in the local zone."""
    at = _moment(value)
    if at is None:
        return NONE
    return (timezone.localtime(at) if isinstance(at, datetime) else at).strftime("%Y-%m-%d")


@register.filter
def ago(value: datetime | str | None) -> str:
    """Show how long ago a moment was, in days of the local zone."""
    at = _moment(value)
    if at is None:
        return ""
    days = (timezone.localdate() - timezone.localtime(at).date()).days
    if days < 0:
        return f"{-days} 天后"
    if days < 2:
        return ("今天", "昨天")[days]
    if days < 60:
        return f"{days} 天前"
    return f"{days // 30} 个月前" if days < 730 else f"{days // 365} 年前"
