"""Segments as lists of customers know them: a number, a name, and rows of who is in it.

The app that has segments says which there are; this one knows none of its models.
"""

from collections.abc import Callable, Mapping
from typing import Any

from django.urls import reverse

# A customer's row of a list, narrowed to the members of a segment (its id is the parameter).
IN_SEGMENT = """EXISTS (
    SELECT 1 FROM segment_members AS member
    WHERE member.customer_id = customers.customer_id AND member.bucket = customers.bucket AND member.segment_id = %s)"""

_read: Callable[[], Mapping[int, str]] = dict
# The page that puts a filtered list into a segment, and the permission that it wants.
_collect: tuple[str, str] | None = None


def register(names: Callable[[], Mapping[int, str]], *, collect: tuple[str, str] | None = None) -> None:
    """Have segment_names() ask this. names() -> {segment: name}, in the order in which they are shown.

    collect: (name of a URL, permission) of the page that is given the query of a list and puts its customers into one.
    """
    global _read, _collect
    _read, _collect = names, collect


def collect_page(user: Any) -> str:
    """Return the URL of the page that puts a filtered list into a segment; empty if there is none for this user."""
    return reverse(_collect[0]) if _collect is not None and user.has_perm(_collect[1]) else ""


def segment_names() -> Mapping[int, str]:
    """Return {segment: name} of all segments. Database: none, but for what is held per process."""
    return _read()
