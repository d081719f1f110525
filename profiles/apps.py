from django.apps import AppConfig


class ProfilesConfig(AppConfig):
    """Behaviours, and the classes that follow from them."""

    name = "profiles"
    verbose_name = "客户画像"

    def ready(self) -> None:
        # Only now there are models.
        from customers import marks, segments
        from profiles import checks, chores  # noqa: F401 - checks registers itself
        from profiles.segments import chores as segment_chores
        from profiles.segments import tasks as segment_tasks
        from profiles.segments.definitions import segment_names

        segments.register(segment_names, collect=("admin:profiles_segment_collect", "profiles.change_segment"))
        chores.register()
        segment_chores.register()
        marks.after_marking.append(segment_tasks.wake_for)
