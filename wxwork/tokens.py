"""Access tokens: one for each secret, shared by all processes (wxwork.grants says how).

    wecom:token:<corp id>:<first 16 digits of the secret's SHA-256>

Another secret in the settings is another key, so nothing of the old one's refusal is left with it.

application    secret                                        for
customers      WXWORK_SECRET                                 everything but
contacts       WXWORK_CONTACTS_SECRET, else WXWORK_SECRET    reading departments and staff
"""

import hashlib
from dataclasses import dataclass, field

from django.conf import settings

from wxwork import counters, transport
from wxwork.errors import ConfigError, RetryError, TokenRefusedError, WxworkError
from wxwork.grants import BREAKER_SECONDS, Grant, Held

GETTOKEN = "/cgi-bin/gettoken"
GETTOKEN_SECONDS = 5.0
# Below the 10 s of the lock.
GETTOKEN_WHOLE_SECONDS = 8.0
# A second token that is refused: WeCom and we disagree, and asking for a third would not end it.
SECOND_REFUSAL_SECONDS = 5.0
# Of a call other than gettoken: worth one other token.
BAD_SECRET = 40001
CUSTOMERS, CONTACTS = "customers", "contacts"
# What the answer to any call, not only to gettoken, says of the credentials as a whole.
OF_THE_CREDENTIALS = frozenset({60020, 50003})


@dataclass(frozen=True)
class Credential:
    """A secret of an application. name: customers or contacts."""

    name: str
    corp_id: str
    secret: str = field(repr=False)

    @property
    def digest(self) -> str:
        """What stands for the secret in names of keys."""
        return hashlib.sha256(self.secret.encode()).hexdigest()[:16]

    @property
    def key(self) -> str:
        return f"wecom:token:{self.corp_id}:{self.digest}"


def credential(name: str = CUSTOMERS) -> Credential:
    """Return the credential of an application from the settings. Raises ConfigError where they are empty."""
    secret = settings.WXWORK_CONTACTS_SECRET if name == CONTACTS else ""
    found = Credential(name, settings.WXWORK_CORP_ID, secret or settings.WXWORK_SECRET)
    if not found.corp_id or not found.secret:
        missing = "WXWORK_SECRET" if found.corp_id else "WXWORK_CORP_ID"
        raise ConfigError(f"{missing} is not set: WeCom cannot be asked for anything.")
    return found


def grant_of(credential: Credential) -> Grant:
    """Return the store of a credential's token."""
    return Grant("token", credential.key, lambda: _fetch(credential))


def get(credential: Credential) -> Held:
    """Return an access token. Raises ConfigError, RetryError, LimitedError."""
    return grant_of(credential).get()


def forget(credential: Credential, token: Held) -> None:
    """Say that WeCom refused a token (40014, 42001), so that another is fetched."""
    grant_of(credential).forget(token)


def note(credential: Credential, error: WxworkError, *, is_second: bool = False) -> None:
    """Hold calls back where an answer says that all others would be refused too.

    60020, 50003: for ten minutes. A second token that was refused: for some seconds, or each call would fetch another.
    """
    if error.code in OF_THE_CREDENTIALS:
        grant_of(credential).refuse(error, seconds=BREAKER_SECONDS)
    elif is_second and (isinstance(error, TokenRefusedError) or error.code == BAD_SECRET):
        grant_of(credential).refuse(error, seconds=SECOND_REFUSAL_SECONDS)


def show_in_metrics() -> None:
    """Bring the gauge of refused credentials up to date."""
    for name in (CUSTOMERS, CONTACTS):
        try:
            refusal = grant_of(credential(name)).find_refusal()
        except ConfigError:
            continue
        counters.BREAKER.labels(name).set(refusal is not None and refusal.kind == "config")


def _fetch(credential: Credential) -> tuple[str, float]:
    request = transport.Request(
        "GET",
        GETTOKEN,
        params={"corpid": credential.corp_id},
        secrets={"corpsecret": credential.secret},
        timeout_seconds=GETTOKEN_SECONDS,
        whole_seconds=GETTOKEN_WHOLE_SECONDS,
    )
    answer = transport.call(request)
    token, seconds = answer.get("access_token"), answer.get("expires_in")
    if not isinstance(token, str) or not token or not isinstance(seconds, int | float) or isinstance(seconds, bool):
        raise RetryError(f"WeCom answers {GETTOKEN} without a token.", path=GETTOKEN)
    return token, float(seconds)
