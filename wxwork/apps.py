from django.apps import AppConfig


class WxworkConfig(AppConfig):
    """The link to WeCom (企业微信)."""

    name = "wxwork"
    verbose_name = "企业微信"
