"""Tickets for the JSSDK, shared by all processes like tokens (wxwork.grants).

    wecom:ticket:<corp id>:<first 16 digits of the secret's SHA-256>:<kind>        kind: corp, agent_config

WeCom gives 400 of the first and 100 of the second an hour; a ticket lives for two hours.
"""

from collections.abc import Callable

from wxwork import tokens
from wxwork.client import wecom
from wxwork.grants import Grant

CORP, AGENT_CONFIG = "corp", "agent_config"
# While a page waits, and within the lock's time: one try that WeCom lets hang is the last.
PATIENCE_SECONDS, ANSWER_SECONDS = 2.0, 3.0
# Wrong credentials are the token's to remember; a refused ticket costs little to ask for again.
PAUSE_SECONDS = 60.0


def grant_of(kind: str) -> Grant:
    """Return the store of a ticket. Raises ConfigError where no credentials are set."""
    credential = tokens.credential()
    client = wecom(PATIENCE_SECONDS, answer_seconds=ANSWER_SECONDS)
    fetch: Callable[[], tuple[str, float]] = client.get_corp_ticket if kind == CORP else client.get_agent_ticket
    key = f"wecom:ticket:{credential.corp_id}:{credential.digest}:{kind}"
    return Grant(f"{kind} ticket", key, fetch, breaker_seconds=PAUSE_SECONDS)


def get(kind: str) -> str:
    """Return a ticket. Raises ConfigError, RetryError, LimitedError."""
    return grant_of(kind).get().value
