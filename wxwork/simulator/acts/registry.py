"""How an act is declared: something that staff, customers or an administrator do in WeCom's own clients.

    @act
    def customer_deletes_staff(doing: Doing, *, external_userid: str, userid: str) -> dict[str, Any]: ...

The parameters after `*` are what a caller may give; unknown, missing or mistyped ones are an ActError, and so is
whatever cannot be. An act checks everything before it changes anything.
"""

import inspect
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

from wxwork.simulator.state import Customer, Group, Staff

if TYPE_CHECKING:
    from wxwork.simulator.corp import Corp
    from wxwork.simulator.state import State


class ActError(ValueError):
    """What was asked for cannot be done; the message says why. Nothing has changed."""


@dataclass
class Doing:
    """One act under way. silent: it happens, and no callback tells of it."""

    corp: "Corp"
    silent: bool = False

    @property
    def state(self) -> "State":
        return self.corp.state

    @property
    def now(self) -> int:
        return self.corp.clock.seconds()

    def tell(self, event: str, change_type: str, **fields: Any) -> None:
        """Send a callback, in the order of the fields; those that are None are left out."""
        if not self.silent:
            there = {name: value for name, value in fields.items() if value is not None}
            self.corp.pushes.send(event, change_type, there, self.now)

    def staff(self, userid: str) -> Staff:
        staff = self.state.find_staff(userid)
        if staff is None:
            raise ActError(f"No staff {userid!r}.")
        return staff

    def customer(self, external_userid: str) -> Customer:
        if external_userid not in self.state.customers:
            raise ActError(f"No customer {external_userid!r}.")
        return self.state.customers[external_userid]

    def group(self, chat_id: str) -> Group:
        group = self.state.groups.get(chat_id)
        if group is None or group.dismissed:
            raise ActError(f"No group {chat_id!r}.")
        return group


Act = Callable[..., dict[str, Any]]
ACTS: dict[str, Act] = {}


def act(function: Act) -> Act:
    """Make an act known under the function's name."""
    ACTS[function.__name__] = function
    return function


def perform(corp: "Corp", name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Do an act. given may hold `silent`. Raises ActError."""
    if name not in ACTS:
        raise ActError(f"No act {name!r}; there are: {', '.join(sorted(ACTS))}.")
    given = dict(given)
    silent = given.pop("silent", False)
    if not isinstance(silent, bool):
        raise ActError("silent is true or false.")
    check_arguments(ACTS[name], given, what=name)
    with corp.state.lock:
        return ACTS[name](Doing(corp, silent), **given)


def check_arguments(function: Callable[..., Any], given: dict[str, Any], *, what: str) -> None:
    """Check names and types of arguments against a function's keyword-only parameters. Raises ActError."""
    hints = typing.get_type_hints(function)
    wanted = {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    if unknown := sorted(given.keys() - wanted.keys()):
        raise ActError(f"{what} takes no {', '.join(unknown)}; it takes: {', '.join(wanted) or 'nothing'}.")
    missing = [name for name, p in wanted.items() if p.default is p.empty and name not in given]
    if missing:
        raise ActError(f"{what} wants {', '.join(missing)}.")
    for name, value in given.items():
        if not _fits(value, hints[name]):
            raise ActError(f"{what}: {name} is not {_named(hints[name])}: {value!r}.")


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, Union):
        return any(_fits(value, one) for one in arguments)
    if origin is list:
        return isinstance(value, list) and all(_fits(item, arguments[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return hint is Any or isinstance(value, hint)


def _named(hint: Any) -> str:
    return getattr(hint, "__name__", str(hint)) if not typing.get_args(hint) else str(hint)
