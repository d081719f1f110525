"""Apps with their secrets, access tokens, JSSDK tickets and login codes.

A call is checked in the order that probes of the real host showed: access_token there (41001), known (40014), not
expired (42001), then what its app may do. gettoken looks at the secret first (41004), then at the corp id.
"""

import hashlib
import itertools
import math
from dataclasses import dataclass, field
from typing import Any

from wxwork.simulator.answers import Refused
from wxwork.simulator.clock import Clock

TOKEN_SECONDS = 7200
CODE_SECONDS = 300
USER_TICKET_SECONDS = 1800


@dataclass(slots=True)
class App:
    """A secret and what it opens. contacts_sync: 通讯录同步; customers: listed in 可调用接口的应用."""

    agentid: int
    secret: str
    contacts: bool = True
    contacts_sync: bool = True
    customers: bool = True
    enabled: bool = True


@dataclass(slots=True)
class Token:
    text: str
    app: App
    expires_at: float
    is_revoked: bool = False


@dataclass(slots=True)
class LoginCode:
    """A single-use code: of staff (userid), or of somebody else (openid, and external_userid if a customer)."""

    expires_at: float
    userid: str = ""
    openid: str = ""
    external_userid: str = ""
    is_private: bool = False


@dataclass
class Auth:
    corp_id: str
    clock: Clock
    seed: int
    apps: list[App]
    trusted_ips: set[str] | None = None
    token_seconds: int = TOKEN_SECONDS
    tokens: dict[str, Token] = field(default_factory=dict)
    codes: dict[str, LoginCode] = field(default_factory=dict)
    user_tickets: dict[str, tuple[str, float]] = field(default_factory=dict)
    tickets: dict[str, tuple[str, float]] = field(default_factory=dict)
    tokens_issued: int = 0
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    # ---------------------------------------------------------------------------------------------------------- tokens
    def issue(self, query: dict[str, str], ip: str) -> dict[str, Any]:
        """Answer gettoken: the token that is still valid, else a new one."""
        secret, corp_id = query.get("corpsecret", ""), query.get("corpid", "")
        if not secret:
            raise Refused(41004)
        if not corp_id:
            raise Refused(41002)
        if corp_id != self.corp_id:
            raise Refused(40013)
        app = next((app for app in self.apps if app.secret == secret and app.enabled), None)
        if app is None:
            raise Refused(40001)
        self._check_ip(ip)
        token = self._valid_token(app) or self._new_token(app)
        return {"access_token": token.text, "expires_in": math.ceil(token.expires_at - self.clock.now())}

    def _valid_token(self, app: App) -> Token | None:
        for token in self.tokens.values():
            if token.app is app and not token.is_revoked and token.expires_at > self.clock.now():
                return token
        return None

    def _new_token(self, app: App) -> Token:
        self.tokens_issued += 1
        text = f"sim_tok_{app.agentid}_{self.tokens_issued:04}_{self._opaque('token')}"
        self.tokens[text] = Token(text, app, self.clock.now() + self.token_seconds)
        return self.tokens[text]

    def check(self, query: dict[str, str], ip: str) -> App:
        """Return the app whose token a call carries in its query. Raises Refused."""
        text = query.get("access_token", "")
        if not text:
            raise Refused(41001)
        token = self.tokens.get(text)
        if token is None or token.is_revoked:
            raise Refused(40014)
        if token.expires_at <= self.clock.now():
            raise Refused(42001)
        self._check_ip(ip)
        return token.app

    def _check_ip(self, ip: str) -> None:
        if self.trusted_ips is not None and ip not in self.trusted_ips:
            raise Refused(60020)

    def expire_tokens(self) -> int:
        """Let every token's time be over (42001)."""
        return sum(1 for token in self.tokens.values() if self._end(token, expires_at=self.clock.now() - 1))

    def revoke_tokens(self) -> int:
        """Revoke every token before its time (40014)."""
        return sum(1 for token in self.tokens.values() if self._end(token, is_revoked=True))

    def _end(self, token: Token, **fields: Any) -> bool:
        if token.is_revoked or token.expires_at <= self.clock.now():
            return False
        for name, value in fields.items():
            setattr(token, name, value)
        return True

    def rotate_secret(self, app: App, secret: str) -> None:
        """Give an app another secret; tokens of the old one die."""
        app.secret = secret
        for token in self.tokens.values():
            token.is_revoked = token.is_revoked or token.app is app

    # --------------------------------------------------------------------------------------------------------- tickets
    def ticket(self, kind: str, app: App) -> dict[str, Any]:
        """Return the corp's or the app's JSSDK ticket; the same until it expires."""
        key = kind if kind == "corp" else f"{kind}/{app.agentid}"
        text, expires_at = self.tickets.get(key, ("", 0.0))
        if expires_at <= self.clock.now():
            text, expires_at = f"sim_ticket_{kind}_{self._opaque(key)}", self.clock.now() + TOKEN_SECONDS
            self.tickets[key] = (text, expires_at)
        return {"ticket": text, "expires_in": math.ceil(expires_at - self.clock.now())}

    # ----------------------------------------------------------------------------------------------------------- login
    def new_code(self, **fields: Any) -> str:
        """Mint the code that a login page's redirect would carry."""
        code = f"simcode_{self._opaque('code')}"
        self.codes[code] = LoginCode(self.clock.now() + CODE_SECONDS, **fields)
        return code

    def take_code(self, text: str) -> LoginCode:
        code = self.codes.pop(text, None)
        if code is None:
            raise Refused(40029)
        if code.expires_at <= self.clock.now():
            raise Refused(42003, "code expired")
        return code

    def new_user_ticket(self, userid: str) -> str:
        ticket = f"sim_user_ticket_{self._opaque('user_ticket')}"
        self.user_tickets[ticket] = (userid, self.clock.now() + USER_TICKET_SECONDS)
        return ticket

    def userid_of_ticket(self, ticket: str) -> str:
        if ticket not in self.user_tickets:
            raise Refused(84015)
        userid, expires_at = self.user_tickets[ticket]
        if expires_at <= self.clock.now():
            raise Refused(84014)
        return userid

    def _opaque(self, kind: str) -> str:
        return hashlib.sha256(f"{self.seed}/{kind}/{next(self._numbers)}".encode()).hexdigest()[:24]
