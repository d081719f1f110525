"""Answer lookups of cached customers before Django's own handler, which costs several times what they need.

    GET /api/v1/customers/{external_userid}/    a live key with customers:read, mobiles masked, cached, in scope,
                                                asked of a host that is ours, by TLS where that is required
    everything else                             Django's, which answers those above the same way, too

Nothing is refused here: what is not plain (a query, a condition, a body, a miss, an error) is passed on untouched.
Middleware sees none of what is answered here, so its headers are set here as settings have them; where requests are to
be logged (LOG_REQUESTS=INFO), all of them go to Django.
"""

import logging
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

from django.conf import settings
from django.db import close_old_connections
from django.http.request import split_domain_port, validate_host

from customers.viewing import view_cached, viewer_of
from customers.views import body_and_headers
from scrm.api.keys import authenticate, record_uses
from scrm.api.problems import ProblemError
from scrm.api.scopes import CUSTOMERS_READ

PREFIX = "/api/v1/customers/"
REQUEST_LOG = "django_structlog.middlewares.request"
CONDITIONS = ("HTTP_IF_NONE_MATCH", "HTTP_IF_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_RANGE")
MAX_HOSTS_KEPT = 1_000

Environ = dict[str, Any]
Answer = tuple[bytes, list[tuple[str, str]]]


class LookupFront:
    """A WSGI application in front of Django's."""

    def __init__(self, django: Callable[[Environ, Any], Iterable[bytes]]) -> None:
        self._django = django
        self._hosts: dict[str, bool] = {}

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        answer = self.find(environ) if self._is_on else None
        if answer is None:
            return self._django(environ, start_response)
        body, headers = answer
        start_response("200 OK", headers)
        return [body]

    @cached_property
    def _is_on(self) -> bool:
        return not logging.getLogger(REQUEST_LOG).isEnabledFor(logging.INFO)

    def find(self, environ: Environ) -> Answer | None:
        """Return the answer to a lookup that is cached, None for what is Django's to answer.

        Database: none, but for what is held per process, and once an hour that a key has been used.
        """
        external_userid = _asked_for(environ)
        if external_userid is None or not self._is_admitted(environ):
            return None
        # What is held is read anew now and then, on a connection that must not outlive its time.
        close_old_connections()
        try:
            holder = authenticate(environ.get("HTTP_AUTHORIZATION"))
            holder.require(CUSTOMERS_READ)
        except ProblemError:
            return None
        view = view_cached(external_userid, viewer_of(holder))
        if view is None:
            return None
        body, headers = body_and_headers(view)
        record_uses()  # what Django does when a request is over; nearly always nothing
        return body, [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            *headers.items(),
            *self._headers,
        ]

    def _is_admitted(self, environ: Environ) -> bool:
        """Tell whether Django would neither redirect to TLS nor refuse the host."""
        if getattr(settings, "SECURE_SSL_REDIRECT", False) and not _is_secure(environ):
            return False
        host = environ.get("HTTP_HOST", "")
        if host not in self._hosts:
            if len(self._hosts) >= MAX_HOSTS_KEPT:
                self._hosts.clear()
            domain, _port = split_domain_port(host)
            self._hosts[host] = bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)
        return self._hosts[host]

    @cached_property
    def _headers(self) -> list[tuple[str, str]]:
        """What SecurityMiddleware and XFrameOptionsMiddleware put on every answer."""
        headers = [
            ("X-Frame-Options", settings.X_FRAME_OPTIONS),
            ("Referrer-Policy", settings.SECURE_REFERRER_POLICY),
            ("Cross-Origin-Opener-Policy", settings.SECURE_CROSS_ORIGIN_OPENER_POLICY),
        ]
        if settings.SECURE_CONTENT_TYPE_NOSNIFF:
            headers.append(("X-Content-Type-Options", "nosniff"))
        if settings.SECURE_HSTS_SECONDS and getattr(settings, "SECURE_SSL_REDIRECT", False):
            more = "; includeSubDomains" if settings.SECURE_HSTS_INCLUDE_SUBDOMAINS else ""
            more += "; preload" if settings.SECURE_HSTS_PRELOAD else ""
            headers.append(("Strict-Transport-Security", f"max-age={settings.SECURE_HSTS_SECONDS}{more}"))
        return headers


def _asked_for(environ: Environ) -> str | None:
    """Return whom a plain lookup asks for; None where it is none."""
    path: str = environ.get("PATH_INFO", "")
    if environ.get("REQUEST_METHOD") != "GET" or not path.startswith(PREFIX) or environ.get("SCRIPT_NAME"):
        return None
    name = path[len(PREFIX) : -1]
    is_plain = path[-1] == "/" and name and "/" not in name and not environ.get("QUERY_STRING")
    if not is_plain or any(condition in environ for condition in CONDITIONS):
        return None
    try:
        return name.encode("latin-1").decode()
    except UnicodeError:
        return None


def _is_secure(environ: Environ) -> bool:
    proxy = settings.SECURE_PROXY_SSL_HEADER
    if proxy and proxy[0] in environ:
        return bool(environ[proxy[0]].split(",", 1)[0].strip() == proxy[1])
    return bool(environ.get("wsgi.url_scheme") == "https")
