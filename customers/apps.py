from django.apps import AppConfig


class CustomersConfig(AppConfig):
    """Customers, who follows them, and where each lives."""

    name = "customers"
    verbose_name = "客户"

    def ready(self) -> None:
        # Only now there are models.
        from customers import checks, chores  # noqa: F401 - checks registers itself
        from customers.register import directory_figures
        from scrm.sharding.inspection import add_directory

        add_directory(directory_figures)
        chores.register()
