from django.apps import AppConfig

from wxwork import checks  # noqa: F401 - registers the checks


class WxworkConfig(AppConfig):
    """The link to WeCom (企业微信)."""

    name = "wxwork"
    verbose_name = "企业微信"

    def ready(self) -> None:
        # Only now there are models.
        from scrm import doctor, health
        from wxwork import budget, chores, sync_tasks, tally, tokens, troubles  # noqa: F401 - sync_tasks: its tasks
        from wxwork.inbox import figures, forgetting  # noqa: F401 - forgetting registers what an erasure clears
        from wxwork.inbox import troubles as callback_troubles
        from wxwork.library import connect_library
        from wxwork.sync import chores as sync_chores

        chores.register()
        sync_chores.register()
        connect_library()
        doctor.register("wecom", troubles.find_troubles)
        doctor.register("callbacks", callback_troubles.find_troubles)
        health.refresh_for_metrics("callbacks", figures.show_in_metrics)
        health.refresh_for_metrics("wecom_budget", budget.show_in_metrics)
        health.refresh_for_metrics("wecom_credentials", tokens.show_in_metrics)
        health.refresh_for_metrics("wecom_calls", tally.show_in_metrics)
