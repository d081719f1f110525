from django.apps import AppConfig


class ProfilesConfig(AppConfig):
    """Behaviours, and the classes that follow from them."""

    name = "profiles"
    verbose_name = "客户画像"
