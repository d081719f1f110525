"""Say what is wrong with the link to WeCom, in words: a part of `manage.py doctor`.

Asks WeCom for a token and one small list with each secret, unless it is known to refuse them.
"""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from scrm.doctor import Finding
from wxwork import budget, tokens
from wxwork.client import wecom
from wxwork.errors import ConfigError, LimitedError, RetryError, WxworkError
from wxwork.tokens import CONTACTS, CUSTOMERS, Credential

PATIENCE_SECONDS = 2.0
VARIABLE = {CUSTOMERS: "WXWORK_SECRET", CONTACTS: "WXWORK_CONTACTS_SECRET"}
# Beside what wxwork.codes says, where to click. {secret}: the variable.
REMEDIES = {
    40001: "Copy the secret of the application again from WeCom's admin (应用管理 › the application › Secret) into "
    "{secret}, and see that the application is not switched off. Calls begin again by themselves with another secret.",
    40013: "Copy the company's id (我的企业 › 企业信息 › 企业ID) into WXWORK_CORP_ID.",
    41002: "Set WXWORK_CORP_ID.",
    41004: "Set {secret}.",
    40056: "Copy the application's AgentId into WXWORK_AGENT_ID.",
    60020: "Add this machine's address to the application's trusted ones (应用管理 › the application › 企业可信IP); it "
    "counts after about a minute. WeCom names the address that it saw in the brackets.",
    48002: "List the application under 客户联系 › 客户 › API › 可调用接口的应用, or use the secret of one that is.",
    48001: "Give the application this permission in WeCom's admin, or use the secret of one that has it.",
    48009: "Leave WXWORK_CONTACTS_SECRET empty: WeCom tells the secret of contacts sync no details from new addresses.",
    60011: "Widen the application's visible range (应用管理 › the application › 可见范围).",
    50003: "Switch the application on in WeCom's admin.",
}


def find_troubles() -> Iterator[Finding]:
    """Look at the settings, then ask WeCom. Time: some seconds for each secret if it does not answer."""
    if not settings.WXWORK_SECRET:
        yield Finding(
            "WXWORK_SECRET is not set: nothing is asked of WeCom, no customers come from there.",
            "Set WXWORK_CORP_ID, WXWORK_AGENT_ID and WXWORK_SECRET (docs/configuration.md).",
            is_problem=bool(settings.WXWORK_CONTACTS_SECRET),
        )
        return
    if not settings.WXWORK_CORP_ID:
        yield Finding("WXWORK_CORP_ID is not set.", REMEDIES[40013])
        return
    if not str(settings.WXWORK_AGENT_ID).isdigit():
        yield Finding("WXWORK_AGENT_ID is no number: staff get no messages, pages no signature.", REMEDIES[40056])
    client = wecom(patience_seconds=PATIENCE_SECONDS)
    looks: list[tuple[str, Callable[[], Any]]] = [(CUSTOMERS, client.list_follow_staff)]
    looks.append((CONTACTS, client.list_department_ids))
    for name, ask in looks:
        yield from _of_secret(tokens.credential(name), ask)
    yield from _of_limits()


def _of_secret(credential: Credential, ask: Callable[[], Any]) -> Iterator[Finding]:
    variable = VARIABLE[credential.name if settings.WXWORK_CONTACTS_SECRET else CUSTOMERS]
    try:
        ask()
    except ConfigError as error:
        yield Finding(
            f"WeCom refuses {variable}, code {error.code}: {error}",
            REMEDIES.get(error.code or 0, "Look the code up in WeCom's documentation.").format(secret=variable),
        )
    except LimitedError as error:
        yield Finding(f"WeCom takes no calls now: {error}", "Wait; /admin/ › 接口额度 shows for how long.", False)
    except RetryError as error:
        yield Finding(
            f"WeCom at {urlsplit(settings.WXWORK_BASE_URL).hostname} does not answer as it should: {error}",
            "Let this machine reach it (name service, firewall, HTTPS_PROXY), or correct WXWORK_BASE_URL.",
        )
    except WxworkError as error:
        yield Finding(f"WeCom answers with a trouble that is new to us: {error}", "Report it.")


def _of_limits() -> Iterator[Finding]:
    for found in budget.usage().values():
        if found.open_seconds > 0:
            yield Finding(
                f"WeCom takes no calls of {found.api} for another {found.open_seconds:.0f} s: its limit of the "
                f"{found.why or 'minute'} was reached (45009).",
                "Calls wait and go on by themselves. Who else uses this company's API?",
                is_problem=False,
            )
