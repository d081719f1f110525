"""Hide what is nobody's business in what the inbox shows and logs. Pure."""

import re

# A mobile with or without its country; WeCom's times have ten digits, its message ids nineteen.
LONG_NUMBER = re.compile(r"(?<![0-9A-Za-z])\+?(\d{3})\d{4,8}(\d{4})(?![0-9A-Za-z])")
PERSONAL = re.compile(r"<(Mobile|Telephone|Email|BizMail|Address)>.+?</\1>", re.DOTALL)
# Secrets while they live (contract §1.1).
CODES = re.compile(r"<(WelcomeCode|ChatKey|ResponseCode)>.+?</\1>", re.DOTALL)


def mask_digits(text: str) -> str:
    """Hide the middle of numbers as long as a mobile's.

    >>> mask_digits("no such key: 13800138000")
    'no such key: 138****8000'
    """
    return LONG_NUMBER.sub(r"\1****\2", text)


def mask_codes(xml: str) -> str:
    """Hide codes that let somebody act, whoever looks.

    >>> mask_codes("<xml><WelcomeCode><![CDATA[Cb5Q]]></WelcomeCode></xml>")
    '<xml><WelcomeCode>***</WelcomeCode></xml>'
    """
    return CODES.sub(r"<\1>***</\1>", xml)


def mask_persons(xml: str) -> str:
    """Hide mobiles and addresses in a callback's XML.

    >>> mask_persons("<Mobile>13800138003</Mobile><Name>13800138003</Name><CreateTime>1790035200</CreateTime>")
    '<Mobile>***</Mobile><Name>138****8003</Name><CreateTime>1790035200</CreateTime>'
    """
    return mask_digits(PERSONAL.sub(r"<\1>***</\1>", xml))
