"""The tag library, held per process: customers hold ids, so that renaming a tag touches none of them."""

from collections.abc import Iterable
from typing import TypedDict

from customers.models import Tag
from scrm.held import Held

HELD_SECONDS = 10.0
# Names that are old harm less than lookups that fail because the control database does, as keys are held too.
STALE_SECONDS = 300.0


class TagName(TypedDict):
    id: str
    name: str
    group: str


def _read() -> dict[str, TagName]:
    return {
        number: TagName(id=number, name=name, group=group)
        for number, name, group in Tag.objects.values_list("id", "name", "group__name")
    }


# {tag id: its names}. Database: one query on the control database, at most every 10 s.
tag_library = Held(_read, seconds=HELD_SECONDS, stale_seconds=STALE_SECONDS)


def named(tag_ids: Iterable[str]) -> list[TagName]:
    """Return the tags of these ids with their names; one that is no longer in the library is named by its id."""
    library = tag_library()
    return [library.get(number) or TagName(id=number, name=number, group="") for number in tag_ids]
