"""A customer as the API shows it: names for tags, only the follows that the reader may see.

In: what lookup.shown made (times as text, mobiles masked or in clear). Out: the fields of the API.
"""

from collections.abc import Mapping
from typing import Any

from customers.access import Scope
from customers.tags import named

HIDDEN = {"own_tag_ids", "tag_ids", "synced_at"}


def present(customer: Mapping[str, Any], scope: Scope) -> dict[str, Any]:
    """Return the API's form of a customer in scope: `tags` is the union of visible live follows' and our own.

    own_tags are the ids of those that are ours: what a writer may send back as tags.

    Database: none, but for the tag library (held per process).
    """
    follows = customer["follows"]
    if not scope.is_everything:
        follows = [follow for follow in follows if follow["userid"] in scope.staff]
    tag_ids = set(customer["own_tag_ids"]).union(*(f["tag_ids"] for f in follows if f["lost_at"] is None))
    shown = {name: value for name, value in customer.items() if name not in HIDDEN}
    shown["follows"] = [
        {**{name: value for name, value in follow.items() if name != "tag_ids"}, "tags": named(follow["tag_ids"])}
        for follow in follows
    ]
    shown["own_tags"] = customer["own_tag_ids"]
    shown["tags"] = named(sorted(tag_ids))
    return shown
