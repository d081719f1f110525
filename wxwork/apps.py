from django.apps import AppConfig

from wxwork import checks  # noqa: F401 - registers the checks


class WxworkConfig(AppConfig):
    """The link to WeCom (企业微信)."""

    name = "wxwork"
    verbose_name = "企业微信"

    def ready(self) -> None:
        # Only now there are models.
        from wxwork import chores
        from wxwork.inbox import forgetting  # noqa: F401 - registers what an erasure clears

        chores.register()
