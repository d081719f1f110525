from django.apps import AppConfig


class ProfilesConfig(AppConfig):
    """Behaviours, and the classes that follow from them."""

    name = "profiles"
    verbose_name = "客户画像"

    def ready(self) -> None:
        from profiles import checks  # noqa: F401 - registers; models are ready only now
