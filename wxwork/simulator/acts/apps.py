"""Apps and their tokens, logins, welcome codes, mass messages: what an administrator, a member or another app does."""

from typing import Any

from wxwork.simulator.acts.registry import ActError, Doing, act
from wxwork.simulator.auth import App
from wxwork.simulator.logins import Person
from wxwork.simulator.state import FULL, WelcomeCode, day_of

DAY = 86_400
OTHER_APP = 1000099


# ------------------------------------------------------------------------------------------------------ apps and tokens
@act
def set_app(
    doing: Doing,
    *,
    agentid: int = 1000025,
    secret: str | None = None,
    contacts: bool | None = None,
    contacts_sync: bool | None = None,
    customers: bool | None = None,
    enabled: bool | None = None,
) -> dict[str, Any]:
    """Make an app, or change one. Another secret kills the tokens of the old one (40014, then 40001)."""
    apps = doing.corp.auth.apps
    app = next((app for app in apps if app.agentid == agentid), None)
    if app is None and not secret:
        raise ActError(f"A new app wants a secret: {agentid}.")
    if secret and any(one.secret == secret for one in apps if one is not app):
        raise ActError("Another app has this secret.")
    if app is None:
        app = App(agentid, secret or "")
        apps.append(app)
    elif secret is not None and secret != app.secret:
        doing.corp.auth.rotate_secret(app, secret)
    rights = {"contacts": contacts, "contacts_sync": contacts_sync, "customers": customers, "enabled": enabled}
    for name, value in rights.items():
        if value is not None:
            setattr(app, name, value)
    return {"agentid": agentid}


@act
def expire_tokens(doing: Doing) -> dict[str, Any]:
    """Every access token's time is over: 42001."""
    return {"tokens": doing.corp.auth.expire_tokens()}


@act
def revoke_tokens(doing: Doing) -> dict[str, Any]:
    """WeCom revokes every access token before its time: 40014."""
    return {"tokens": doing.corp.auth.revoke_tokens()}


@act
def set_trusted_ips(doing: Doing, *, ips: list[str] | None) -> dict[str, Any]:
    """Set 企业可信IP: calls from elsewhere are 60020. null: anywhere."""
    doing.corp.auth.trusted_ips = None if ips is None else set(ips)
    return {}


@act
def login_code(
    doing: Doing, *, userid: str = "", external_userid: str = "", openid: str = "", private: bool = False
) -> dict[str, Any]:
    """A login page redirects with a code (5 minutes, once): of staff, of a customer, or of a stranger (openid)."""
    if userid:
        return {"code": doing.corp.auth.new_code(userid=doing.staff(userid).userid, is_private=private)}
    if external_userid:
        doing.customer(external_userid)
    stranger = openid or f"oSim{doing.state.new_id('', 12)}"
    return {"code": doing.corp.auth.new_code(openid=stranger, external_userid=external_userid)}


@act
def log_in_as(
    doing: Doing, *, userid: str = "", external_userid: str = "", openid: str = "", cancels: bool = False
) -> dict[str, Any]:
    """Say who sits before the login pages from now on."""
    if userid:
        userid = doing.staff(userid).userid
    if external_userid:
        doing.customer(external_userid)
    doing.corp.logs_in = Person(userid, external_userid, openid, cancels)
    return {}


# ----------------------------------------------------------------------------------------------------- welcome messages
def _code(doing: Doing, welcome_code: str) -> WelcomeCode:
    code = doing.state.welcome_codes.get(welcome_code)
    if code is None:
        raise ActError(f"No welcome code {welcome_code!r}.")
    return code


@act
def welcome_sent_by_other(doing: Doing, *, welcome_code: str, agentid: int = OTHER_APP) -> dict[str, Any]:
    """Another app has used a welcome code: 41051 from now on."""
    _code(doing, welcome_code).used_by = agentid
    return {}


@act
def welcome_in_flight(doing: Doing, *, welcome_code: str, agentid: int = OTHER_APP) -> dict[str, Any]:
    """Another app is sending with a welcome code: 41096, until it is told otherwise (agentid 0: no longer)."""
    _code(doing, welcome_code).in_flight_by = agentid
    return {}


# -------------------------------------------------------------------------------------------------------- mass messages
@act
def confirm_mass_message(doing: Doing, *, msgid: str, userid: str) -> dict[str, Any]:
    """A member taps send: each recipient gets 1 sent, 2 not a friend any more, 3 had enough this month."""
    message, staff = doing.state.mass_messages.get(msgid), doing.staff(userid)
    if message is None or staff.userid not in message.tasks:
        raise ActError(f"{userid} has no task of {msgid!r}.")
    if message.is_cancelled or message.tasks[staff.userid]["status"]:
        raise ActError("It has been sent or cancelled.")
    message.tasks[staff.userid] = {"status": 2, "send_time": doing.now}
    counts = {1: 0, 2: 0, 3: 0}
    for one in message.recipients[staff.userid]:
        one["status"] = _result(doing, staff.relations.get(one["id"]), one["id"], message.chat_type)
        counts[one["status"]] += 1
        if one["status"] == 1:
            one["send_time"] = doing.now
    return {"sent": counts[1], "not_friends": counts[2], "capped": counts[3]}


def _result(doing: Doing, relation: Any, identity: str, chat_type: str) -> int:
    if chat_type == "single" and (relation is None or relation.status != FULL):
        return 2
    cap = doing.corp.monthly_mass_messages
    month = day_of(doing.now) - 30 * DAY
    got = sum(
        1
        for message in doing.state.mass_messages.values()
        for rows in message.recipients.values()
        for row in rows
        if row["id"] == identity and row["status"] == 1 and row["send_time"] > month
    )
    return 3 if cap and got >= cap else 1
