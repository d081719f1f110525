from django.apps import AppConfig

from wxwork import checks  # noqa: F401 - registers the checks


class WxworkConfig(AppConfig):
    """The link to WeCom (企业微信)."""

    name = "wxwork"
    verbose_name = "企业微信"
