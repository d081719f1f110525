"""The schema is true: what it describes is what is answered, whatever is sent."""

import re
from functools import cache
from typing import Any

import pytest
import schemathesis
import yaml
from django.conf import settings as settings_of_django
from django.core.wsgi import get_wsgi_application
from django.test import Client
from hypothesis import HealthCheck, given, settings, strategies
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from customers.directory import REASONS
from customers.models import Tag, TagGroup
from scrm.api.scopes import SCOPES
from tests.api.clients import Api
from tests.customers.people import follow, make
from tests.examples import examples

pytestmark = pytest.mark.usefixtures("nothing_held", "broker_client")

ENDPOINTS = {
    ("get", "/api/v1/customers/"),
    ("get", "/api/v1/customers/{external_userid}/"),
    ("put", "/api/v1/customers/{external_userid}/"),
    ("patch", "/api/v1/customers/{external_userid}/"),
    ("delete", "/api/v1/customers/{external_userid}/"),
    ("get", "/api/v1/customers/by-id/{customer_id}/"),
    ("get", "/api/v1/customers/{external_userid}/profile/"),
    ("get", "/api/v1/erasures/{erasure_id}/"),
    ("post", "/api/v1/behaviors/"),
    ("post", "/api/v1/identities/"),
    ("get", "/api/v1/profiles/summary/"),
    ("get", "/api/v1/profiles/trends/"),
    ("get", "/api/v1/profiles/flows/"),
    ("get", "/api/v1/profiles/rfm/"),
    ("get", "/api/v1/profiles/value/"),
    ("get", "/api/v1/profiles/cohorts/"),
    ("get", "/api/v1/profiles/rules/"),
    ("get", "/api/v1/profiles/runs/"),
    ("post", "/api/v1/profiles/runs/"),
    ("get", "/api/v1/profiles/runs/{run_id}/"),
    ("get", "/api/v1/segments/"),
    ("post", "/api/v1/segments/"),
    ("post", "/api/v1/segments/preview/"),
    ("get", "/api/v1/segments/{segment_id}/"),
    ("patch", "/api/v1/segments/{segment_id}/"),
    ("delete", "/api/v1/segments/{segment_id}/"),
    ("get", "/api/v1/segments/{segment_id}/members/"),
    ("post", "/api/v1/segments/{segment_id}/members/"),
    ("get", "/api/v1/segments/{segment_id}/history/"),
    ("get", "/api/v1/recommendations/"),
    ("get", "/api/v1/customers/{external_userid}/recommendations/"),
    ("post", "/api/v1/customers/{external_userid}/recommendations/{recommendation_id}/accept/"),
    ("post", "/api/v1/customers/{external_userid}/recommendations/{recommendation_id}/dismiss/"),
    ("post", "/api/v1/customers/{external_userid}/recommendations/{recommendation_id}/undo/"),
    ("get", "/api/v1/wxwork/jssdk-config/"),
}


@pytest.fixture
def schema() -> dict[str, Any]:
    response = Client().get("/api/v1/schema/")
    assert response.status_code == 200
    return yaml.safe_load(response.content)


def test_schema_names_every_endpoint_and_asks_for_a_key(schema: dict[str, Any]) -> None:
    found = {(method, path) for path, operations in schema["paths"].items() for method in operations}
    assert found == ENDPOINTS
    assert schema["components"]["securitySchemes"] == {
        "key": {"type": "http", "scheme": "bearer", "description": "A key of `manage.py create_api_key`."}
    }
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            assert operation["security"] == [{"key": []}], (method, path)
            assert "application/problem+json" in operation["responses"]["401"]["content"]
            assert operation["description"]


def test_docs_page_asks_no_foreign_host() -> None:
    response = Client().get("/api/v1/docs/")
    assert response.status_code == 200
    page = response.content.decode()
    assert re.findall(r"""(?:src|href)=["']?(?:https?:)?//[^"' >]+""", page) == []
    assert "validatorUrl" in page  # else Swagger UI has the schema checked by a public server


def test_strict_bodies_say_so(schema: dict[str, Any]) -> None:
    for name in ("CustomerBody", "PatchedCustomerBody", "FollowBody", "RunBody"):
        assert schema["components"]["schemas"][name]["additionalProperties"] is False


@cache
def described() -> Any:
    """The schema, read once: each of some seventy tests wants one operation of it."""
    return schemathesis.openapi.from_wsgi("/api/v1/schema/", get_wsgi_application())


CHECKS = (not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance)


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize(("method", "path"), sorted(ENDPOINTS))
def test_answers_are_as_the_schema_says(method: str, path: str, mode: GenerationMode) -> None:
    """Whatever is sent, in the schema or beside it: no 500, no status, type or field that the schema does not name."""
    group = TagGroup.objects.create(id="g1", name="等级")
    Tag.objects.create(id="et1", name="金卡", group=group)
    customer_id = make("wm1", name="王小明", follows=(follow("zhang", tag_ids=("et1",)),), tag_ids=("et1",))
    api = Api()
    operation = described()[path][method]

    @settings(
        max_examples=examples(12),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), is_known=strategies.booleans())
    def call(case: Any, is_known: bool) -> None:
        if is_known:  # else hardly anybody would ever be found
            known = {"external_userid": "wm1", "customer_id": customer_id}
            case.path_parameters |= {name: value for name, value in known.items() if name in case.path_parameters}
        case.call_and_validate(headers={"Authorization": f"Bearer {api.token}"}, checks=CHECKS)

    call()


def test_every_endpoint_scope_and_code_of_a_refusal_is_in_the_guide() -> None:
    guide = (settings_of_django.BASE_DIR / "docs" / "api.md").read_text()
    for method, path in ENDPOINTS:
        assert f"`{method.upper()} {path.removeprefix('/api/v1')}`" in guide, (method, path)
    for scope in SCOPES:
        assert f"`{scope}`" in guide, scope
    for code in ("unknown_customer", "home_is_fixed", "owned_by_wecom", "version_differs", *REASONS):
        told_elsewhere = {"erased", "unknown_home", "invalid_external_userid"}  # as codes of fields and items
        assert f"`{code}`" in guide or code in told_elsewhere, code
