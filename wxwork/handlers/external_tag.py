"""Callbacks about the tag library (change_external_tag): create, update, delete, shuffle, of tags and of groups.

All of them come to one thing: the library is read anew, as a whole, and stored; tags that WeCom has no more are taken
off every follow. It is one answer of a few kB, they share one key, and a group's deletion says nothing of its tags.
"""

from wxwork.handlers import handles
from wxwork.library import refresh_library
from wxwork.messages import Message


@handles("change_external_tag", "create", "update", "delete", "shuffle")
def library_changed(message: Message) -> None:
    """The library has changed; the read says how."""
    refresh_library()
