"""What pages say is Chinese, and small functions do what their examples say."""

import doctest
import gettext
import re
from importlib import import_module
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client
from django.utils import translation

CATALOGUE = Path(settings.LOCALE_PATHS[0]) / "zh_Hans" / "LC_MESSAGES"


@pytest.mark.parametrize(
    "name",
    [
        "customers.counts", "customers.pages.person", "customers.pages.positions", "customers.templatetags.customers",
        "customers.vocabulary", "profiles.admin", "profiles.pages.runs", "scrm.dashboard",
    ],
)  # fmt: skip
def test_examples(name: str) -> None:
    found = doctest.testmod(import_module(name))
    assert found.attempted
    assert not found.failed


def test_the_compiled_catalogue_is_that_of_its_source() -> None:
    with (CATALOGUE / "django.mo").open("rb") as compiled:
        catalogue = gettext.GNUTranslations(compiled)
    source = (CATALOGUE / "django.po").read_text()
    pairs = re.findall(r'^msgid "(.+)"\nmsgstr "(.*)"$', source, re.MULTILINE)
    assert len(pairs) > 70
    for key, text in pairs:
        key, text = (re.sub(r'\\([\\"])', r"\1", one).replace("\\n", "\n") for one in (key, text))
        assert catalogue.gettext(key) == text


def test_unfolds_own_strings_are_chinese() -> None:
    templates = Path(import_module("unfold").__file__).parent / "templates"
    words = {
        word
        for template in templates.rglob("*.html")
        for _quote, word in re.findall(r"{%\s*trans(?:late)?\s+([\"'])(.*?)\1", template.read_text())
    }
    with translation.override("zh-hans"):
        assert sorted(word for word in words if translation.gettext(word) == word) == []


@pytest.mark.usefixtures("clean_databases")
def test_login_is_chinese_and_names_the_product() -> None:
    html = Client().get("/admin/login/").content.decode()
    assert "SCRM 客户管理" in html
    assert "登录" in html
    assert "Log in" not in html


@pytest.mark.usefixtures("company")
def test_english_browsers_get_the_pages_too(admin: Client) -> None:
    for url in ("/admin/", "/admin/customers/customer/", "/admin/profiles/profilerun/", "/admin/customers/staff/"):
        answer = admin.get(url, headers={"Accept-Language": "en-US,en"})
        assert answer.status_code == 200
        assert "Log out" in answer.content.decode()
