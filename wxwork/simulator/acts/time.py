"""The corp's clock, transfers that come due with it, and switches."""

from typing import Any

from wxwork.simulator.acts.registry import ActError, Doing, act
from wxwork.simulator.transfers import LIMIT_REACHED, REFUSED, WAITING, fail_transfer, settle_transfers

RATES = {"duplicate", "reorder", "drop"}


@act
def advance_clock(doing: Doing, *, seconds: float) -> dict[str, Any]:
    """Let time pass at once: tokens, welcome codes and media expire, transfers complete."""
    if seconds < 0:
        raise ActError("Time does not run backwards here; use set_clock.")
    doing.corp.clock.advance(seconds)
    return {"now": doing.now, "transfers": settle_transfers(doing)}


@act
def set_clock(doing: Doing, *, at: float) -> dict[str, Any]:
    """Set the clock to a Unix time; it runs on from there."""
    if at < 0:
        raise ActError("at is a Unix time.")
    doing.corp.clock.set(at)
    return {"now": doing.now, "transfers": settle_transfers(doing)}


@act
def fail_transfers(
    doing: Doing, *, reason: str = "customer_refused", external_userids: list[str] | None = None
) -> dict[str, Any]:
    """Transfers that wait come to nothing: customer_refused or customer_limit_exceed."""
    statuses = {"customer_refused": REFUSED, "customer_limit_exceed": LIMIT_REACHED}
    if reason not in statuses:
        raise ActError(f"reason is one of {', '.join(statuses)}.")
    waiting = [
        transfer
        for transfer in doing.state.transfers
        if transfer.status == WAITING and (external_userids is None or transfer.external_userid in external_userids)
    ]
    for transfer in waiting:
        fail_transfer(doing, transfer, statuses[reason])
    return {"transfers": len(waiting)}


@act
def set_limits(
    doing: Doing,
    *,
    path: str = "",
    per_minute: int | None = None,
    per_hour: int | None = None,
    concurrency: int | None = None,
    minute_block_seconds: float | None = None,
    hour_block_seconds: float | None = None,
) -> dict[str, Any]:
    """Set limits for one path or, without one, for all; counts and blocks begin afresh. null: as it is."""
    limits = doing.corp.limits
    if path and path not in doing.corp.paths:
        raise ActError(f"No endpoint {path!r}.")
    if path and (minute_block_seconds is not None or hour_block_seconds is not None):
        raise ActError("How long a block lasts is set for all paths.")
    given = {"per_minute": per_minute, "per_hour": per_hour, "concurrency": concurrency}
    given |= {"minute_block_seconds": minute_block_seconds, "hour_block_seconds": hour_block_seconds}  # type: ignore[dict-item]
    if any(value is not None and value < 0 for value in given.values()):
        raise ActError("Limits are not negative.")
    for name, value in given.items():
        if value is not None:
            setattr(limits.of(path) if path else limits, name, value)
    limits.unblock()
    return {}


@act
def set_paging(
    doing: Doing,
    *,
    short_pages: int | None = None,
    empty_pages: int | None = None,
    followers_per_page: int | None = None,
    forget_cursors: bool = False,
) -> dict[str, Any]:
    """Make some pages of a hundred short, or empty with a cursor; set the page of followers; make all cursors 40058."""
    paging = doing.corp.paging
    if any(value is not None and not 0 <= value <= 90 for value in (short_pages, empty_pages)):
        raise ActError("short_pages and empty_pages are 0 to 90, of a hundred.")
    if followers_per_page is not None and followers_per_page < 1:
        raise ActError("followers_per_page is at least 1.")
    paging.short_pages = paging.short_pages if short_pages is None else short_pages
    paging.empty_pages = paging.empty_pages if empty_pages is None else empty_pages
    paging.generation += int(forget_cursors)
    if followers_per_page is not None:
        doing.corp.followers_per_page = followers_per_page
    return {}


@act
def set_behaviour(
    doing: Doing,
    *,
    dispatch_seconds: float | None = None,
    group_lag_seconds: float | None = None,
    monthly_mass_messages: int | None = None,
    most_owners: int | None = None,
    bound_to_wechat: bool | None = None,
    token_seconds: int | None = None,
    tells_little_of_contacts: bool | None = None,
) -> dict[str, Any]:
    """Switches: how long mass messages answer 41063, how long group details lag behind callbacks, how many mass
    messages a customer may get a month (0: any), from how many staff groupchat/list wants owners (81017), whether the
    corp has a WeChat developer account (unionids), how long tokens live, whether change_contact carries only ids and
    departments (as for callback URLs of 通讯录同步 saved after 2022-08-15)."""
    given = {
        "dispatch_seconds": dispatch_seconds,
        "group_lag_seconds": group_lag_seconds,
        "monthly_mass_messages": monthly_mass_messages,
        "most_owners": most_owners,
        "tells_little_of_contacts": tells_little_of_contacts,
    }
    if token_seconds is not None and token_seconds < 1:
        raise ActError("A token lives at least a second.")
    if any(value is not None and value < 0 for value in given.values()):
        raise ActError("None of these is negative.")
    for name, value in given.items():
        if value is not None:
            setattr(doing.corp, name, value)
    if bound_to_wechat is not None:
        doing.state.is_bound_to_wechat = bound_to_wechat
    if token_seconds is not None:
        doing.corp.auth.token_seconds = token_seconds
    return {}


@act
def set_pushes(
    doing: Doing,
    *,
    url: str | None = None,
    token: str | None = None,
    aes_key: str | None = None,
    receiveid: str | None = None,
    contacts_token: str | None = None,
    contacts_aes_key: str | None = None,
    retries: int | None = None,
    retry_seconds: float | None = None,
    timeout_seconds: float | None = None,
    duplicate: float | None = None,
    reorder: float | None = None,
    drop: float | None = None,
    delay_seconds: float | None = None,
    reorder_seconds: float | None = None,
    tampered_signature: int | None = None,
    wrong_receiveid: int | None = None,
    oversized: int | None = None,
    entity_bomb: int | None = None,
    inner_entity_bomb: int | None = None,
) -> dict[str, Any]:
    """Set where and how callbacks are pushed (see wxwork.simulator.pushing)."""
    given = {name: value for name, value in locals().items() if name != "doing" and value is not None}
    for name, value in given.items():
        if isinstance(value, int | float) and value < 0:
            raise ActError(f"{name} is not negative.")
        if name in RATES and value > 1:
            raise ActError(f"{name} is a share, 0 to 1.")
    for key in ("aes_key", "contacts_aes_key"):
        if given.get(key) and len(given[key]) != 43:
            raise ActError(f"{key} has 43 characters.")
    for name, value in given.items():
        setattr(doing.corp.pushes.settings, name, value)
    return {}


@act
def push_callback(doing: Doing, *, event: str, change_type: str = "", fields: dict[str, Any]) -> dict[str, Any]:
    """Push a callback of any kind; nothing else happens. fields: text, numbers, lists, objects."""
    try:
        push = doing.corp.pushes.send(event, change_type, fields, doing.now)
    except TypeError as error:
        raise ActError(str(error)) from None
    return {"id": push.id}


@act
def push_again(doing: Doing, *, id: int) -> dict[str, Any]:
    """Push once more what has been pushed: the same XML, sealed afresh."""
    if not doing.corp.pushes.again(id):
        raise ActError(f"No push {id} is kept, or nobody receives.")
    return {}


@act
def verify_callback(doing: Doing) -> dict[str, Any]:
    """The console verifies the callback URL (GET with echostr, 1 s)."""
    if not doing.corp.pushes.settings.url:
        raise ActError("No callback URL is set.")
    return doing.corp.pushes.verify_url()
