"""The library of customer tags (企业客户标签), and tags on relations. Docs 92117, 92118, 94882.

Ids are texts. An application may change and delete only the tags that it made (81011). Nothing here calls back.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from wxwork.client import arguments
from wxwork.client.calls import Calls, list_in, need_one_of, object_in
from wxwork.client.customers import relation_of

PREFIX = "/cgi-bin/externalcontact"
LIST, STRATEGY_LIST = f"{PREFIX}/get_corp_tag_list", f"{PREFIX}/get_strategy_tag_list"
ADD, EDIT, DELETE, MARK = (
    f"{PREFIX}/add_corp_tag",
    f"{PREFIX}/edit_corp_tag",
    f"{PREFIX}/del_corp_tag",
    f"{PREFIX}/mark_tag",
)
NAME_CHARACTERS = 30
# Of one call. The documentation names no number but the 3 000 tags that a relation may have.
IDS_A_CALL = 1_000
TAGS_OF_A_RELATION = 3_000
MAX_ORDER = 2**32 - 1


class TagCalls(Calls):
    def list_tags(
        self, tag_ids: Iterable[str] | None = None, group_ids: Iterable[str] | None = None
    ) -> list[dict[str, Any]]:
        """Return groups with their tags: [{group_id, group_name, create_time, order, tag: [{id, name, …}]}] (92117).

        Without ids all of them, without the deleted; with ids (group_ids wins) also these, marked `deleted`.
        """
        body = {
            "tag_id": None if tag_ids is None else _ids("tag_ids", tag_ids),
            "group_id": None if group_ids is None else _ids("group_ids", group_ids),
        }
        return list_in(self._post(LIST, body), "tag_group", LIST)

    def list_strategy_tags(self, strategy_id: int | None = None) -> list[dict[str, Any]]:
        """Return the groups of rule tags (规则组标签), as list_tags does, with strategy_id (doc 94882)."""
        number = None if strategy_id is None else arguments.number("strategy_id", strategy_id, lowest=1, highest=2**31)
        return list_in(self._post(STRATEGY_LIST, {"strategy_id": number}), "tag_group", STRATEGY_LIST)

    def add_tags(
        self,
        names: Iterable[str | Mapping[str, Any]],
        *,
        group_id: str | None = None,
        group_name: str | None = None,
        order: int | None = None,
    ) -> dict[str, Any]:
        """Make tags in a group that is there (group_id), or in that of a name, made if need be (doc 92117).

        names: texts of 30 characters, or {"name", "order"}. Returns the group with the tags just made. Not repeated
        after a timeout. BusinessError 40071: the name is there already.
        """
        need_one_of(group_id=group_id, group_name=group_name)
        body = {
            "group_id": None if group_id is None else arguments.identifier("group_id", group_id),
            "group_name": arguments.optional("group_name", group_name, max_characters=NAME_CHARACTERS, is_needed=True),
            "order": None if order is None else _order(order),
            "tag": [_tag(name) for name in _listed(names)],
        }
        return object_in(self._post(ADD, body, is_repeatable=False), "tag_group", ADD)

    def edit_tag(self, tag_or_group_id: str, *, name: str | None = None, order: int | None = None) -> None:
        """Rename or move a tag or a group (92117). order: the larger, the further in front."""
        if name is None and order is None:
            need_one_of(name=name, order=order)
        body = {
            "id": arguments.identifier("tag_or_group_id", tag_or_group_id),
            "name": arguments.optional("name", name, max_characters=NAME_CHARACTERS, is_needed=True),
            "order": None if order is None else _order(order),
        }
        self._post(EDIT, body)

    def delete_tags(self, tag_ids: Iterable[str] = (), group_ids: Iterable[str] = ()) -> None:
        """Delete tags, and groups with all of theirs (92117). A group goes with its last tag. DataError 40068: gone."""
        tags, groups = _ids("tag_ids", tag_ids, at_least=0), _ids("group_ids", group_ids, at_least=0)
        need_one_of(tag_ids=tags, group_ids=groups)
        self._post(DELETE, {"tag_id": tags, "group_id": groups})

    def mark_tags(
        self, userid: str, external_userid: str, add_tag: Iterable[str] = (), remove_tag: Iterable[str] = ()
    ) -> None:
        """Put tags on a relation, and take others off, by their ids (doc 92118).

        DataError 84061: they do not follow them; 40068: no such tag. One call at a time of each relation.
        """
        added = arguments.identifiers("add_tag", add_tag, at_most=TAGS_OF_A_RELATION, at_least=0)
        removed = arguments.identifiers("remove_tag", remove_tag, at_most=TAGS_OF_A_RELATION, at_least=0)
        need_one_of(add_tag=added, remove_tag=removed)
        body = {
            "userid": arguments.identifier("userid", userid),
            "external_userid": arguments.identifier("external_userid", external_userid),
            "add_tag": added,
            "remove_tag": removed,
        }
        self._post(MARK, body, relation=relation_of(userid, external_userid))


def _ids(name: str, values: Iterable[str], *, at_least: int = 1) -> list[str]:
    return arguments.identifiers(name, values, at_most=IDS_A_CALL, at_least=at_least)


def _order(value: int) -> int:
    return arguments.number("order", value, lowest=0, highest=MAX_ORDER)


def _listed(names: Iterable[str | Mapping[str, Any]]) -> list[str | Mapping[str, Any]]:
    found = [names] if isinstance(names, str | Mapping) else list(names)
    arguments.number("the number of names", len(found), lowest=1, highest=IDS_A_CALL)
    return found


def _tag(given: str | Mapping[str, Any]) -> dict[str, Any]:
    fields: Mapping[str, Any] = given if isinstance(given, Mapping) else {"name": given}
    name = arguments.text("name", fields.get("name"), max_characters=NAME_CHARACTERS, is_needed=True)
    return {"name": name} | ({"order": _order(fields["order"])} if fields.get("order") is not None else {})
