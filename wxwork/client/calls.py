"""Make one call of WeCom's API: with a token, within the budget, again where that helps.

what came (wxwork.errors)          done about it
40014, 42001 (40001 once a call)   forget this token, fetch another, call once more; the second one is a ConfigError
RetryError                         again after 0.5 and 1 s and some jitter, three times in all, while patience lasts
OutcomeUnknownError                nothing: a write that may have happened and must not happen twice
45009                              wait for the circuit if patience allows, else LimitedError
45033                              fewer at once from now on; then as RetryError
60020, 50003                       nobody calls with this secret for ten minutes (wxwork.tokens)
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import structlog
import tenacity
from django.conf import settings

from wxwork import budget, tokens, transport
from wxwork.alerts import alert
from wxwork.errors import (
    BugError,
    ConfigError,
    LimitedError,
    OutcomeUnknownError,
    RetryError,
    TokenRefusedError,
    WxworkError,
)
from wxwork.grants import Held
from wxwork.tokens import CUSTOMERS, Credential
from wxwork.transport import Answer, Request, Upload

logger = structlog.get_logger(__name__)

TRIES = 3
PAUSES_SECONDS = (0.5, 1.0, 2.0)
JITTER_SECONDS = 0.25
MAX_PAGES = 10_000


def _is_worth_another_try(error: BaseException, deadline: float) -> bool:
    is_worth = isinstance(error, RetryError) and not isinstance(error, OutcomeUnknownError)
    return is_worth and time.monotonic() < deadline


class Calls:
    """What the families of endpoints are made of. Thread-safe, and without state but its patience.

    patience_seconds: how long a call may wait for room in the budget and for circuits, and begin another try.
    answer_seconds: how long WeCom may take to answer one, files apart.
    """

    def __init__(self, *, patience_seconds: float = 5.0, answer_seconds: float = transport.READ_SECONDS) -> None:
        self.patience_seconds = patience_seconds
        self.answer_seconds = answer_seconds

    def _get(
        self, path: str, *, app: str = CUSTOMERS, hidden: tuple[str, ...] = (), **params: str | int | None
    ) -> dict[str, Any]:
        """Call an API that reads by its query. hidden: values that no message may show."""
        given = {name: value for name, value in params.items() if value is not None}
        shown = {name: value for name, value in given.items() if value not in hidden}
        secrets = {name: str(value) for name, value in given.items() if value in hidden}
        request = Request(
            "GET", path, params=shown, secrets=secrets, hidden=hidden, timeout_seconds=self.answer_seconds
        )
        return self._call(request, app)

    def _post(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        app: str = CUSTOMERS,
        is_repeatable: bool = True,
        relation: str = "",
        hidden: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        """Call an API with a body; its fields that are None are left out."""
        given = {name: value for name, value in body.items() if value is not None}
        encoded = transport.encode(given, path)
        request = Request(
            "POST", path, body=encoded, is_repeatable=is_repeatable, hidden=hidden, timeout_seconds=self.answer_seconds
        )
        return self._call(request, app, relation)

    def _upload(self, path: str, upload: Upload, **params: str | int) -> dict[str, Any]:
        request = Request("POST", path, params=params, upload=upload, timeout_seconds=transport.UPLOAD_SECONDS)
        return self._call(request, CUSTOMERS)

    def _call(self, request: Request, app: str, relation: str = "") -> dict[str, Any]:
        return self._send(request, app, relation, lambda answer, sent: transport.read(answer, sent))

    def _send(
        self, request: Request, app: str, relation: str, read: Callable[[Answer, Request], dict[str, Any]]
    ) -> dict[str, Any]:
        credential = tokens.credential(app)
        deadline = time.monotonic() + self.patience_seconds
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: _is_worth_another_try(error, deadline)),
            stop=tenacity.stop_after_attempt(TRIES),
            wait=tenacity.wait_chain(*map(tenacity.wait_fixed, PAUSES_SECONDS))
            + tenacity.wait_random(0, JITTER_SECONDS),
            reraise=True,
        )
        try:
            found: dict[str, Any] = retrying(self._try, request, credential, relation, deadline, read)
        except WxworkError as error:
            alert(error, request)
            raise
        return found

    def _try(
        self,
        request: Request,
        credential: Credential,
        relation: str,
        deadline: float,
        read: Callable[[Answer, Request], dict[str, Any]],
    ) -> dict[str, Any]:
        """Call once, with a second token if the first is refused."""
        token = tokens.get(credential)
        try:
            return self._once(request, credential, token, relation, deadline, read)
        except ConfigError as error:
            if not (isinstance(error, TokenRefusedError) or error.code == tokens.BAD_SECRET):
                tokens.note(credential, error)
                raise
        tokens.forget(credential, token)
        token = tokens.get(credential)
        try:
            return self._once(request, credential, token, relation, deadline, read)
        except ConfigError as error:
            tokens.note(credential, error, is_second=True)
            raise

    def _once(
        self,
        request: Request,
        credential: Credential,
        token: Held,
        relation: str,
        deadline: float,
        read: Callable[[Answer, Request], dict[str, Any]],
    ) -> dict[str, Any]:
        sent = _with_token(request, token, credential)
        while True:
            try:
                with budget.turn(
                    credential.corp_id,
                    request.path,
                    deadline=deadline,
                    # A process that is killed keeps its place for so long: no longer than a call may take.
                    lease_seconds=request.longest_seconds,
                    relation=relation,
                ):
                    return read(transport.send(sent), sent)
            except LimitedError as error:
                # Refused, so it has not happened: wait for the end of the block if that is near enough.
                if time.monotonic() + error.retry_after_seconds > deadline:
                    raise

    def _pages(
        self, first: Callable[[str], dict[str, Any]], field: str, path: str, *, cursor: str = ""
    ) -> Iterator[dict[str, Any]]:
        """Yield pages until there is no next cursor; short and empty ones on the way mean nothing."""
        seen: set[str] = set()
        for _page in range(MAX_PAGES):
            answer = first(cursor)
            list_in(answer, field, path)
            yield answer
            cursor = next_cursor_of(answer)
            if not cursor:
                return
            if cursor in seen:
                raise RetryError(f"WeCom gives a cursor of {path} for the second time.", path=path)
            seen.add(cursor)
        raise RetryError(f"WeCom gives more than {MAX_PAGES} pages of {path}.", path=path)


def _with_token(request: Request, token: Held, credential: Credential) -> Request:
    secrets = {**request.secrets, "access_token": token.value}
    return replace(request, secrets=secrets, hidden=(*request.hidden, credential.secret))


def next_cursor_of(answer: Mapping[str, Any]) -> str:
    """Return the cursor of the next page, empty at the end: some endpoints leave it out then."""
    cursor = answer.get("next_cursor")
    return cursor if isinstance(cursor, str) else ""


def list_in(answer: Mapping[str, Any], field: str, path: str) -> list[Any]:
    """Return a list of an answer. One that is missing is no empty one: much would look deleted."""
    found = answer.get(field)
    if not isinstance(found, list):
        raise RetryError(f"WeCom answers {path} without {field}.", path=path)
    return found


def object_in(answer: Mapping[str, Any], field: str, path: str) -> dict[str, Any]:
    found = answer.get(field)
    if isinstance(found, list) and len(found) == 1:
        found = found[0]  # older samples of the documentation show a list
    if not isinstance(found, dict):
        raise RetryError(f"WeCom answers {path} without {field}.", path=path)
    return found


def agent_id() -> int:
    """Return the application's id from the settings. Raises ConfigError."""
    try:
        return int(settings.WXWORK_AGENT_ID)
    except (TypeError, ValueError):
        raise ConfigError("WXWORK_AGENT_ID must be the number of the application (AgentId in WeCom's admin).") from None


def need_one_of(**given: object) -> None:
    """Raise BugError if all of these are None or empty."""
    if not any(value not in (None, "", [], ()) for value in given.values()):
        raise BugError(f"One of {', '.join(given)} must be given.")
