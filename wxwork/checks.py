"""System checks of the settings of the WeCom link. Each says what to do.

wxwork.E001  callback tokens and AES keys are not pairs
wxwork.E002  a callback AES key is not 43 letters and digits
wxwork.E003  the simulator's URL, or one without TLS, with DEBUG off
wxwork.E004  what is no origin in WXWORK_JSSDK_ORIGINS
wxwork.W001  more calls of WeCom's API than WeCom takes
"""

import re
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from wxwork.jssdk import is_origin

# EncodingAESKey: 43 characters of base64 without its `=` (WeCom, 接收消息与事件 › 加解密方案说明).
AES_KEY = re.compile(r"[A-Za-z0-9]{43}")


@register()
def callback_pairs_are_complete(**_kwargs: Any) -> list[CheckMessage]:
    """Check that tokens and keys, comma-separated for rotation, stand in pairs and look like what WeCom gives."""
    tokens, keys = settings.WXWORK_CALLBACK_TOKEN, settings.WXWORK_CALLBACK_AES_KEY
    found: list[CheckMessage] = []
    if len(tokens) != len(keys):
        found.append(
            Error(
                f"WXWORK_CALLBACK_TOKEN has {len(tokens)} entries and WXWORK_CALLBACK_AES_KEY {len(keys)}.",
                hint="Give both lists the same length, pairs in the same place.",
                id="wxwork.E001",
            )
        )
    for place, key in enumerate(keys, 1):
        if not AES_KEY.fullmatch(key):
            found.append(
                Error(
                    f"Entry {place} of WXWORK_CALLBACK_AES_KEY is not an EncodingAESKey.",
                    hint="It has 43 letters and digits; copy it from the callback page of the WeCom admin.",
                    id="wxwork.E002",
                )
            )
    return found


@register()
def base_url_is_safe(**_kwargs: Any) -> list[CheckMessage]:
    """Refuse to send secrets in the clear in production."""
    if settings.DEBUG or settings.WXWORK_BASE_URL.startswith("https://"):
        return []
    return [
        Error(
            "WXWORK_BASE_URL does not begin with https://.",
            hint="Leave it unset for WeCom itself; the simulator is for DEBUG=1.",
            id="wxwork.E003",
        )
    ]


@register()
def origins_are_origins(**_kwargs: Any) -> list[CheckMessage]:
    """Check that pages can be compared with what stands in WXWORK_JSSDK_ORIGINS."""
    return [
        Error(
            f"{origin!r} in WXWORK_JSSDK_ORIGINS is no origin: none of its pages is signed.",
            hint="Give scheme and host, and a port if it is not the usual one: https://sidebar.example.com",
            id="wxwork.E004",
        )
        for origin in settings.WXWORK_JSSDK_ORIGINS
        if not is_origin(origin)
    ]


@register()
def limits_are_below_wecoms(**_kwargs: Any) -> list[CheckMessage]:
    """Warn of limits that let WeCom block an API (45009)."""
    found: list[CheckMessage] = []
    for name, most in (("WXWORK_CALLS_PER_MINUTE", 10_000), ("WXWORK_CALLS_PER_HOUR", 150_000)):
        if not 1 <= getattr(settings, name) <= most:
            found.append(
                Warning(
                    f"{name} is {getattr(settings, name)}: WeCom takes {most} calls of each API.",
                    hint="Leave it unset, or lower it where other programs use the same company's API too.",
                    id="wxwork.W001",
                )
            )
    return found
