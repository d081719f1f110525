"""Structured logs: one line an event, with the request's or task's id. Data, and the set-up of structlog."""

import os
import sys

import structlog

# What must never reach a log, whoever passes it: tokens, secrets, mobile numbers, message texts.
SECRET_WORDS = ("token", "secret", "password", "authorization", "mobile", "api_key", "content")


def drop_secrets(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Blank the values of keys that name something secret.

    >>> drop_secrets(None, "info", {"event": "x", "access_token": "abc"})
    {'event': 'x', 'access_token': '…'}
    """
    return {
        key: "…" if key != "event" and any(word in key.lower() for word in SECRET_WORDS) else value
        for key, value in event.items()
    }


SHARED_PROCESSORS: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso"),
    structlog.processors.StackInfoRenderer(),
    drop_secrets,
]
structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        *SHARED_PROCESSORS,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=True,
)

_renderer = (
    structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer(ensure_ascii=False)
)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "structured": {
            "()": structlog.stdlib.ProcessorFormatter,
            "processors": [
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _renderer,
            ],
            "foreign_pre_chain": SHARED_PROCESSORS,
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "structured"}},
    "root": {"handlers": ["console"], "level": os.environ.get("LOG_LEVEL", "INFO")},
    "loggers": {
        "django.request": {"level": "ERROR"},
        # A line for each call to WeCom, with ids of customers in it.
        "httpx": {"level": "WARNING"},
        # Its debugging lines have the answer's headers: a redirect names the URL with its token.
        "httpcore": {"level": "INFO"},
        "django_structlog.middlewares.request": {"level": os.environ.get("LOG_REQUESTS", "WARNING")},
    },
}
