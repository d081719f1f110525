"""System checks of customers. Each says what to do.

customers.E001  IDENTITY_KINDS names something that is no kind
"""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from customers.identity_kinds import read_kinds


@register()
def kinds_are_words(**_kwargs: Any) -> list[CheckMessage]:
    """Refuse kinds of identities that nobody could name."""
    try:
        read_kinds(settings.IDENTITY_KINDS)
    except ValueError as error:
        return [Error(str(error), hint="For example: taobao=淘宝昵称,card_no", id="customers.E001")]
    return []
