"""Each callback has the elements of the contract's sample of its kind, in the sample's order."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from wxwork.simulator import SimulatorServer
from wxwork.simulator.state import Transfer

SAMPLES = Path(__file__).parents[1] / "fixtures" / "callbacks"
FAMILIES = ("change_external_contact", "change_external_chat", "change_external_tag", "change_contact")
# Samples of what the simulator's acts do not do; push_callback does.
UNDONE = {("change_external_contact", "msg_audit_approved", "")}
# What a change of a member may hold as its creation does, though the sample of a change has it not.
OF_CREATION = {"IsLeaderInDept"}
ENVELOPE = ["ToUserName", "FromUserName", "CreateTime", "MsgType", "Event"]


def kind_of(root: ElementTree.Element) -> tuple[str, str, str]:
    return root.findtext("Event", ""), root.findtext("ChangeType", ""), root.findtext("UpdateDetail", "")


def everything(simulator: SimulatorServer) -> None:
    """Do one of each kind."""
    act = simulator.act
    link = act("acquisition_link")["link_id"]
    customer = act("add_customer", staff="ChenSiYu", state="x")["external_userid"]
    half = act("add_customer", staff="ChenSiYu", state="x", half=True)["external_userid"]
    act("confirm_customer", external_userid=half, userid="ChenSiYu")
    act("edit_customer", external_userid=customer, userid="ChenSiYu", remark="r")
    act("transfer_customer", external_userid=half, userid="ChenSiYu", takeover_userid="XuJiaHao")
    simulator.corp.state.transfers.append(waiting(simulator, customer))
    act("fail_transfers")
    act("customer_deletes_staff", external_userid=customer, userid="ChenSiYu", link_id=link)
    act("delete_customer", external_userid=customer, userid="ChenSiYu")
    chat = act("group_create", owner="ChenSiYu")["chat_id"]
    act("group_join", chat_id=chat, members=["wmA", "wmB"])
    act("group_leave", chat_id=chat, members=["wmB"])
    for change in ({"group_rename": {"name": "n"}}, {"group_notice": {"notice": "n"}}):
        for name, given in change.items():
            act(name, chat_id=chat, **given)
    act("group_change_owner", chat_id=chat, owner="XuJiaHao")
    act("group_dismiss", chat_id=chat)
    act("tag_create", group_id="etgroup01", name="新")
    act("tag_rename", tag_id="ettag0101", name="旧")
    act("tag_shuffle", group_id="etgroup01")
    act("tag_delete", tag_id="ettag0101")
    act("staff_joins", userid="SunYue", name="孙悦", departments=[110])
    act("staff_changes", userid="SunYue", new_userid="SunYue01", departments=[111], position="店长", status=1)
    act("staff_leaves", userid="SunYue01")
    act("department_create", id=8, name="直播", parentid=1)
    act("department_update", id=8, name="直播部", parentid=100)
    act("department_delete", id=8)
    act("staff_tag_changes", tagid=1, add_users=["ChenSiYu"], add_departments=[110])
    for change_type in ("balance_low", "balance_exhausted", "balance_increased", "quota_expire_soon"):
        act("acquisition_callback", change_type=change_type)
    for change_type in ("link_unavailable", "open_profile", "friend_request"):
        act("acquisition_callback", change_type=change_type, link_id=link, state="x")
    who = {"link_id": link, "external_userid": half, "userid": "XuJiaHao"}
    act("customer_writes", **who)
    act("customer_writes", **who, messages=3)
    act("acquisition_callback", change_type="delete_link", link_id=link)


def waiting(simulator, customer):
    later = simulator.state.clock.seconds() + 3600
    return Transfer("ChenSiYu", "XuJiaHao", customer, 2, later, False)


def test_callbacks_have_the_elements_of_the_samples(simulator):
    everything(simulator)
    samples: dict[tuple[str, str, str], list[list[str]]] = {}
    for path in SAMPLES.glob("*.xml"):
        root = ElementTree.fromstring(path.read_text())
        if root.findtext("Event") in (*FAMILIES, "customer_acquisition"):
            samples.setdefault(kind_of(root), []).append([node.tag for node in root])
    pushed: dict[tuple[str, str, str], list[str]] = {}
    for push in simulator.pushes.record:
        root = ElementTree.fromstring(push.xml)
        pushed.setdefault(kind_of(root), [node.tag for node in root])
    assert set(pushed) == set(samples) - UNDONE
    odd = {}
    for kind, tags in pushed.items():
        assert tags[:5] == ENVELOPE
        sample = max(samples[kind], key=len)
        if kind[1] == "update_user":
            tags = [tag for tag in tags if tag not in OF_CREATION]
        # In the sample's order, with nothing that the sample has not.
        if tags != [tag for tag in sample if tag in tags]:
            odd[kind] = (tags[5:], sample[5:])
    assert odd == {}
