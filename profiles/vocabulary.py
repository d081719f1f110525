"""The words that a behaviour may use.

    kind      purchase, interaction, refund (Behaviour.Kind)
    channel   those below, and a company's own from the setting BEHAVIOUR_CHANNELS

BEHAVIOUR_CHANNELS is a comma-separated list; a Chinese name may follow: `hotline=客服热线,tmall`.
"""

from collections.abc import Iterable
from functools import cache

from django.conf import settings

from customers.identity_kinds import read_words
from profiles.models import Behaviour

KINDS = frozenset(Behaviour.Kind.values)
CHANNELS = {
    "wecom": "企业微信",
    "mini_program": "小程序",
    "official_account": "公众号",
    "channels": "视频号",
    "store": "门店",
    "ecommerce": "电商",
    "douyin": "抖音",
    "xiaohongshu": "小红书",
    "website": "官网",
    "app": "App",
    "phone": "电话",
    "other": "其他",
}


def read_channels(words: Iterable[str]) -> dict[str, str]:
    """Return {code: name} of the words of BEHAVIOUR_CHANNELS.

    >>> read_channels(["hotline=客服热线", "tmall"])
    {'hotline': '客服热线', 'tmall': 'tmall'}
    >>> read_channels(["Hot Line"])
    Traceback (most recent call last):
    ...
    ValueError: BEHAVIOUR_CHANNELS: 'Hot Line' is no channel: a-z, 0-9 and _, 32 characters at most.
    """
    return read_words("BEHAVIOUR_CHANNELS", "channel", words)


@cache
def channel_names() -> dict[str, str]:
    """Return {code: Chinese name} of every channel that is accepted."""
    return CHANNELS | read_channels(settings.BEHAVIOUR_CHANNELS)
