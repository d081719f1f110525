"""The tag library: WeCom's changes come here, ours go there first."""

import pytest

from customers import library
from customers.library import LibraryError
from customers.models import Tag, TagGroup
from customers.tags import named
from tests.wxwork.corp import a_relation, follow_of, look, ours, tell, theirs
from wxwork.simulator import SimulatorServer


def told(change_type: str, **fields: object) -> None:
    tell("change_external_tag", change_type, **fields)


def stored() -> dict[str, tuple[str, int, dict[str, tuple[str, int]]]]:
    return {
        group.pk: (group.name, group.order, {tag.pk: (tag.name, tag.order) for tag in group.tags.all()})
        for group in TagGroup.objects.filter(is_wecom=True)
    }


def in_wecom(simulator: SimulatorServer) -> dict[str, tuple[str, int, dict[str, tuple[str, int]]]]:
    return {
        group.id: (
            group.name,
            group.order,
            {tag.id: (tag.name, tag.order) for tag in group.tags.values() if not tag.deleted},
        )
        for group in simulator.state.tag_groups.values()
        if not group.deleted
    }


def test_the_library_is_wecoms_rule_groups_too(synced: SimulatorServer) -> None:
    assert stored() == in_wecom(synced)
    assert TagGroup.objects.get(id="stgroup01").strategy_id == 1


def test_made_renamed_shuffled(synced: SimulatorServer) -> None:
    made = synced.act("tag_group_create", name="购买意向", tags=["高意向", "观望"])
    told("create", Id=made["group_id"], TagType="tag_group")
    assert stored() == in_wecom(synced)
    synced.act("tag_rename", tag_id="ettag0102", name="白银会员")
    synced.act("tag_group_rename", group_id="etgroup01", name="会员等级")
    told("update", Id="ettag0102", TagType="tag")
    assert stored() == in_wecom(synced)
    assert named(["ettag0102"]) == [{"id": "ettag0102", "name": "白银会员", "group": "会员等级"}]
    synced.act("tag_shuffle", group_id="etgroup03")
    synced.act("tag_shuffle")
    told("shuffle", Id="")
    assert stored() == in_wecom(synced)


def test_a_deleted_tag_comes_off_every_customer(synced: SimulatorServer) -> None:
    who, userid = a_relation(synced)
    synced.act("edit_customer", external_userid=who, userid=userid, tags=["ettag0101", "ettag0203"], silent=True)
    tell("change_external_contact", "edit_external_contact", UserID=userid, ExternalUserID=who)
    synced.act("tag_delete", tag_id="ettag0101")
    told("delete", Id="ettag0101", TagType="tag")
    assert stored() == in_wecom(synced)
    assert (follow_of(who, userid) or {})["tag_ids"] == ["ettag0203"]
    assert (look(who) or {})["tag_ids"] == ["ettag0203"]
    assert ours() == theirs(synced)


def test_a_deleted_group_takes_its_tags_along(synced: SimulatorServer) -> None:
    synced.act("tag_group_delete", group_id="etgroup04")
    told("delete", Id="etgroup04", TagType="tag_group")
    assert not Tag.objects.filter(group_id="etgroup04").exists()
    assert ours() == theirs(synced)


def test_a_replayed_deletion_of_a_tag_that_is_there_does_nothing(synced: SimulatorServer) -> None:
    told("delete", Id="ettag0102", TagType="tag")
    assert stored() == in_wecom(synced)


def test_our_own_tags_are_left_alone(synced: SimulatorServer) -> None:
    group = library.add_group("内部", ["重点关注"], is_wecom=False)
    told("update", Id="ettag0102", TagType="tag")
    assert [tag.name for tag in group.tags.all()] == ["重点关注"]
    assert group.pk not in in_wecom(synced)


# --------------------------------------------------------------------------------------------------- from here to there
def test_what_is_made_here_is_made_there_first(synced: SimulatorServer) -> None:
    group = library.add_group("购买意向", ["高意向", "观望"], is_wecom=True, order=7)
    assert stored() == in_wecom(synced)
    assert [tag.name for tag in group.tags.all()] == ["高意向", "观望"]
    tag = library.add_tag(group, "已下单", order=9)
    assert synced.state.tags[tag.pk].name == "已下单"
    assert stored() == in_wecom(synced)


def test_what_is_changed_here_is_changed_there_first(synced: SimulatorServer) -> None:
    tag = Tag.objects.get(id="ettag0102")
    library.change(tag, name="白银会员", order=77)
    library.change(TagGroup.objects.get(id="etgroup01"), name="会员等级", order=3)
    assert (synced.state.tags["ettag0102"].name, synced.state.tags["ettag0102"].order) == ("白银会员", 77)
    assert stored() == in_wecom(synced)


def test_what_is_deleted_here_is_deleted_there_first(synced: SimulatorServer) -> None:
    library.delete(tags=[Tag.objects.get(id="ettag0102")])
    library.delete(groups=[TagGroup.objects.get(id="etgroup04")])
    library.delete(tags=list(Tag.objects.filter(group_id="etgroup02")))
    assert stored() == in_wecom(synced)
    assert not TagGroup.objects.filter(id="etgroup02").exists()
    assert ours() == theirs(synced)


@pytest.mark.parametrize("code", [81011, 40071, -1, 45009])
def test_a_refusal_changes_nothing_and_says_why(synced: SimulatorServer, code: int) -> None:
    before = stored()
    for path in ("add_corp_tag", "edit_corp_tag", "del_corp_tag"):
        synced.faults(f"/cgi-bin/externalcontact/{path}", errcode=code, times=5)
    tag = Tag.objects.get(id="ettag0102")
    with pytest.raises(LibraryError, match=f"{code}|LimitedError"):
        library.add_tag(tag.group, "新标签")
    with pytest.raises(LibraryError, match=f"{code}|LimitedError"):
        library.change(tag, name="新名字", order=1)
    with pytest.raises(LibraryError):
        library.delete(tags=[tag])
    assert stored() == before


def test_own_tags_ask_nobody(synced: SimulatorServer) -> None:
    calls = sum(synced.corp.calls.values())
    group = library.add_group("内部", ["甲", "乙"], is_wecom=False)
    library.change(group, name="内部标签", order=1)
    library.delete(tags=list(group.tags.all()))
    assert TagGroup.objects.get(pk=group.pk).name == "内部标签"
    library.delete(groups=[group])
    assert sum(synced.corp.calls.values()) == calls
