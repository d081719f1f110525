"""How an endpoint is declared, and what it gets to see of a call.

    @endpoint("POST", "/cgi-bin/externalcontact/remark", app="customers", relation=("userid", "external_userid"))
    def remark(call: Call) -> dict[str, Any]: ...

method          a GET on a POST endpoint is 40058; a POST on a GET endpoint is served
app             contacts | contacts_sync | customers | any | none; another app's token is 48002
fail_extra      the empty lists that a refused call carries as well
has_hint        whether errmsg has hint, ip and link (probes: some have not)
relation        the parameters that name the relation which the call writes: one writer at a time, else 45035
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wxwork.simulator.answers import Refused
from wxwork.simulator.auth import App

if TYPE_CHECKING:
    from wxwork.simulator.corp import Corp
    from wxwork.simulator.state import State


@dataclass(frozen=True)
class Binary:
    """An answer that is not JSON."""

    content: bytes
    content_type: str
    filename: str
    is_partial: bool = False
    content_range: str = ""


@dataclass(frozen=True)
class Upload:
    """A file part of a multipart body."""

    field: str
    filename: str
    content: bytes


@dataclass
class Call:
    """params: what the caller asked for, the query of a GET endpoint or the body of a POST endpoint."""

    corp: "Corp"
    path: str
    query: dict[str, str]
    body: dict[str, Any]
    params: dict[str, Any]
    app: App
    ip: str
    headers: dict[str, str] = field(default_factory=dict)
    upload: Upload | None = None

    @property
    def state(self) -> "State":
        return self.corp.state

    @property
    def now(self) -> int:
        return self.corp.state.clock.seconds()

    # Each of these raises Refused with the code that the contract gives for the mistake, else 40058 or 40063.
    def text(
        self, name: str, *, missing: int = 40058, required: bool = True, chars: int = 0, octets: int = 0, long: int = 0
    ) -> str:
        """Return a string. chars, octets: at most so many; long: the code of a longer one (40058)."""
        value = self.params.get(name, "")
        if value is None:
            value = ""
        if not isinstance(value, str):
            raise Refused(40058)
        if not value and required:
            raise Refused(missing)
        if (chars and len(value) > chars) or (octets and len(value.encode()) > octets):
            raise Refused(long or 40058)
        return value

    def number(self, name: str, *, missing: int = 40058, default: int | None = None) -> int:
        """Return an integer, which a query carries as text."""
        value = self.params.get(name)
        if value is None or value == "":
            if default is None:
                raise Refused(missing)
            return default
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise Refused(40058)
        try:
            return int(value)
        except ValueError:
            raise Refused(40058) from None

    def texts(self, name: str, *, most: int = 0, required: bool = False, missing: int = 40058) -> list[str]:
        """Return a list of strings."""
        value = self.params.get(name)
        if value is None:
            value = []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise Refused(40058)
        if (required and not value) or (most and len(value) > most):
            raise Refused(missing if not value else 40058)
        return value

    def numbers(self, name: str, *, most: int = 0) -> list[int]:
        value = self.params.get(name)
        if value is None:
            value = []
        if not isinstance(value, list) or not all(isinstance(i, int) and not isinstance(i, bool) for i in value):
            raise Refused(40058)
        if most and len(value) > most:
            raise Refused(40058)
        return value

    def flag(self, name: str, default: bool) -> bool:
        value = self.params.get(name, default)
        if not isinstance(value, bool):
            raise Refused(40058)
        return value

    def mapping(self, name: str) -> dict[str, Any]:
        value = self.params.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise Refused(40058)
        return value

    def limit(self, *, default: int, most: int, clamps: bool = False) -> int:
        """Return the page size. One above the maximum: the maximum if `clamps`, else the default (contract §4)."""
        value = self.number("limit", default=default)
        if value <= 0:
            return default
        if value > most:
            return most if clamps else default
        return value

    def page(
        self, items: list[Any], limit: int, number_of: Callable[[Any], int] | None = None
    ) -> tuple[list[Any], str]:
        """Return a page of items and the next cursor. Without number_of a position is a place in the list."""
        if number_of is not None:
            return self.corp.paging.page(self.path, self.params, items, limit, number_of)
        places = list(enumerate(items, 1))
        page, cursor = self.corp.paging.page(self.path, self.params, places, limit, lambda place: place[0])
        return [item for _place, item in page], cursor


Handler = Callable[[Call], "dict[str, Any] | Binary"]


@dataclass(frozen=True)
class Endpoint:
    method: str
    path: str
    handler: Handler
    app: str
    fail_extra: dict[str, Any]
    has_hint: bool
    relation: tuple[str, str] | None


ENDPOINTS: dict[str, Endpoint] = {}


def endpoint(
    method: str,
    path: str,
    *,
    app: str = "any",
    fail_extra: dict[str, Any] | None = None,
    has_hint: bool = True,
    relation: tuple[str, str] | None = None,
) -> Callable[[Handler], Handler]:
    """Serve a path."""

    def declare(handler: Handler) -> Handler:
        ENDPOINTS[path] = Endpoint(method, path, handler, app, fail_extra or {}, has_hint, relation)
        return handler

    return declare
