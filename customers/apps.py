from django.apps import AppConfig


class CustomersConfig(AppConfig):
    """Customers, who follows them, and where each lives."""

    name = "customers"
    verbose_name = "客户"
