"""A small company to look at, and users who may see it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from customers.directory import addresses, upsert
from customers.records import CustomerData
from profiles.days import day_of
from profiles.models import ProfileRun
from profiles.runs import run_all, start_run
from scrm import held
from scrm.demo.company import Company
from scrm.demo.seeding import seed_behaviours
from tests.pages.people import seed_customers, seed_organisation

LONG_NAME = "上海浦东新区张江高科技园区博云路二号人工智能岛长名字测试客户" * 2 + "王大锤王"


@pytest.fixture(autouse=True)
def _nothing_held() -> Iterator[None]:
    held.forget_all()
    yield
    held.forget_all()


def make_company() -> Company:
    company = Company(seed=11, now=timezone.localtime(), customers=40, days=60)
    seed_organisation(company)
    seed_customers(company)
    seed_behaviours(company, lambda _: None)
    return company


@pytest.fixture
def company(kept_state: Callable[..., Any]) -> Company:
    """Forty customers with follows, tags and behaviours; nobody is classified yet."""
    company: Company = kept_state(f"company of {day_of(timezone.now())}", make_company)
    held.forget_all()
    return company


@pytest.fixture
def customer_id(clean_databases: None) -> int:
    """Somebody, in a company of one."""
    return upsert(CustomerData("wm-somebody", {"name": "王一"}, home=100))[0]


@pytest.fixture
def classified(company: Company, kept_state: Callable[..., Any]) -> ProfileRun:
    """The company after its first run."""
    today = day_of(timezone.now())
    run_id = kept_state(f"run of {today}", lambda: run_all(start_run("manual", today, requested_by="admin")).pk)
    run = ProfileRun.objects.get(pk=run_id)
    assert run.state == "done"
    held.forget_all()
    return run


@pytest.fixture
def customer_ids(company: Company) -> list[int]:
    """The customers' addresses, in their order in the lists."""
    return sorted(addresses([company.external_userid(number) for number in range(company.customers)]).values())


@pytest.fixture
def admin_user(clean_databases: None) -> User:
    # Without a password: hashing one is the slowest thing that most tests would do.
    return User.objects.create_superuser("admin", "admin@example.com", first_name="林婉清")


@pytest.fixture
def admin(admin_user: User) -> Client:
    client = Client()
    client.force_login(admin_user)
    return client


@pytest.fixture
def staff_with(clean_databases: None) -> Callable[..., Client]:
    """Log somebody in who has just these permissions, such as customers.view_customer."""

    def log_in(*permissions: str) -> Client:
        user = User.objects.create_user("operator", is_staff=True)
        for permission in permissions:
            app, codename = permission.split(".")
            user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
        client = Client()
        client.force_login(user)
        return client

    return log_in


@pytest.fixture
def desk(page: Any, admin_user: User, live_server_url: str) -> Iterator[Any]:
    """A page of Chromium, logged in; nothing may go wrong on it, which page.troubles tells also meanwhile."""
    page.troubles = []
    page.on("pageerror", lambda error: page.troubles.append(str(error)))
    page.on("console", lambda message: page.troubles.append(message.text) if message.type == "error" else None)
    client = Client()
    client.force_login(admin_user)
    session = client.cookies[settings.SESSION_COOKIE_NAME].value
    page.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": live_server_url}])
    yield page
    assert page.troubles == []
