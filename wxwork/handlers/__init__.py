"""What is done about a callback: one function for each (Event, ChangeType), found by both.

    @handles("change_external_contact", "add_external_contact")
    def added(message: Message) -> None: ...

The same ChangeType occurs in several families (update, delete, del_follow_user): it alone says nothing.

A handler returns when the change has been applied. It is called again after a crash, a repeat or a replay, so it must
be repeatable, and it re-reads the object from WeCom before it changes anything, deletions included. What it raises says
whether it is tried again: wxwork.inbox.outcomes. The modules of this folder are loaded when the first handler is
looked for.
"""

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache

from wxwork.messages import Message

Handler = Callable[[Message], None]

_handlers: dict[tuple[str, str], Handler] = {}


def handles(event: str, *change_types: str) -> Callable[[Handler], Handler]:
    """Register a function for callbacks of an Event with any of these ChangeTypes; without one: that have none.

    Raises ValueError if there is another for one of them.
    """

    def register(handler: Handler) -> Handler:
        for change_type in change_types or ("",):
            if (event, change_type) in _handlers:
                raise ValueError(f"There is a handler of {event}/{change_type} already.")
            _handlers[event, change_type] = handler
        return handler

    return register


def find_handler(message: Message) -> Handler | None:
    """Return who handles a message; None if nobody does: it is stored and marked."""
    _load()
    return _handlers.get((message.event, message.change_type))


def handled_kinds() -> list[tuple[str, str]]:
    """Return every (Event, ChangeType) that has a handler, sorted."""
    _load()
    return sorted(_handlers)


@cache
def _load() -> None:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
