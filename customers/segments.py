"""Segments as lists of customers know them: a number, a name, and rows of who is in it.

The app that has segments says which there are; this one knows none of its models.
"""

from collections.abc import Callable, Mapping

# A customer's row of a list, narrowed to the members of a segment (its id is the parameter).
IN_SEGMENT = """EXISTS (
    SELECT 1 FROM segment_members AS member
    WHERE member.customer_id = customers.customer_id AND member.bucket = customers.bucket AND member.segment_id = %s)"""

_read: Callable[[], Mapping[int, str]] = dict


def register(names: Callable[[], Mapping[int, str]]) -> None:
    """Have segment_names() ask this. names() -> {segment: name}, in the order in which they are shown."""
    global _read
    _read = names


def segment_names() -> Mapping[int, str]:
    """Return {segment: name} of all segments. Database: none, but for what is held per process."""
    return _read()
