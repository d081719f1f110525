"""Call the API as a program with a key does."""

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from django.http import HttpResponse
from django.test import Client

from scrm.api.keys import create_key
from scrm.api.scopes import SCOPES

ALL_BUT_PII = tuple(scope for scope in SCOPES if scope != "pii:read")


class Api:
    """A key, and requests made with it. Paths begin after /api/v1."""

    def __init__(
        self, name: str = "shop", *, scopes: Iterable[str] = ALL_BUT_PII, departments: Iterable[int] = ()
    ) -> None:
        self.name = name
        self.token = create_key(name, scopes=scopes, department_ids=departments)
        # What goes wrong in a view is answered, as it is outside of tests.
        self._client = Client(raise_request_exception=False)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> HttpResponse:
        """Send a request. body: to be made JSON of, or bytes as they are. headers: with _ for -."""
        content = body if isinstance(body, bytes) else json.dumps(body) if body is not None else ""
        return self._client.generic(  # type: ignore[return-value]
            method,
            f"/api/v1{path}",
            content,
            content_type=headers.pop("Content_Type", "application/json"),
            headers={"Authorization": f"Bearer {self.token}"}
            | {name.replace("_", "-"): value for name, value in headers.items()},
        )

    def get(self, path: str, **headers: str) -> HttpResponse:
        return self.send("GET", path, **headers)

    def look_up(self, external_userid: str, **headers: str) -> HttpResponse:
        return self.get(customer(external_userid), **headers)

    def put(self, external_userid: str, body: Any, **headers: str) -> HttpResponse:
        return self.send("PUT", customer(external_userid), body, **headers)

    def patch(self, external_userid: str, body: Any, **headers: str) -> HttpResponse:
        return self.send("PATCH", customer(external_userid), body, **headers)

    def delete(self, external_userid: str) -> HttpResponse:
        return self.send("DELETE", customer(external_userid))


def customer(external_userid: str) -> str:
    """Return the path of a customer."""
    return f"/customers/{quote(external_userid, safe='')}/"


def problem(response: HttpResponse) -> tuple[int, str]:
    """Return the status and the code of an answer that must be a problem."""
    assert response["Content-Type"] == "application/problem+json", (response.status_code, response.content[:500])
    found = json.loads(response.content)
    assert found["status"] == response.status_code
    assert found["type"] == f"urn:scrm:problem:{found['code']}"
    return response.status_code, found["code"]


def fields(response: HttpResponse) -> dict[str, str]:
    """Return {field: code} of a 400."""
    assert problem(response) == (400, "invalid"), response.content
    return {error["field"]: error["code"] for error in json.loads(response.content)["errors"]}
