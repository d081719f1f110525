from django.apps import AppConfig


class ProfilesConfig(AppConfig):
    """Behaviours, and the classes that follow from them."""

    name = "profiles"
    verbose_name = "客户画像"

    def ready(self) -> None:
        # Only now there are models.
        from profiles import checks, chores  # noqa: F401 - checks registers itself

        chores.register()
