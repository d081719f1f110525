"""A client that none of us wrote agrees with the simulator: wechatpy 1.8.18."""

from typing import Any

import pytest
from wechatpy.enterprise import WeChatClient
from wechatpy.exceptions import APILimitedException, WeChatClientException


@pytest.fixture
def client(simulator: Any) -> Any:
    class Client(WeChatClient):
        API_BASE_URL = f"{simulator.url}/cgi-bin/"

        def fetch_access_token(self) -> Any:  # the original names the real host
            params = {"corpid": self.corp_id, "corpsecret": self.secret}
            return self._fetch_access_token(url=f"{self.API_BASE_URL}gettoken", params=params)

    return Client("wwsimulator", "simulator-secret", timeout=10)


def test_it_gets_its_token_and_renews_it(simulator, client):
    assert client.access_token.startswith("sim_tok_1000025_")
    first = client.access_token
    simulator.act("expire_tokens")
    assert len(client.department.get()) == 10
    assert client.access_token != first
    simulator.act("revoke_tokens")
    assert len(client.department.get()) == 10


def test_it_reads_departments_and_staff(simulator, client):
    departments = client.department.get()
    assert {row["id"] for row in departments} == set(simulator.state.departments)
    assert next(row for row in departments if row["id"] == 110)["name"] == "上海南京西路店"
    found = {user["userid"] for row in departments for user in client.user.list(row["id"])}
    assert found == {staff.userid for staff in simulator.state.staff.values()}
    assert client.user.get("ChenSiYu")["name"] == "陈思雨"


def test_it_reads_customers(simulator, client):
    contacts = client.external_contact
    followers = contacts.get_follow_user_list()["follow_user"]
    assert len(followers) == 20
    found = {}
    for userid in [staff.userid for staff in simulator.state.staff.values() if staff.relations]:
        for external_userid in contacts.list(userid)["external_userid"]:
            found[external_userid] = contacts.get(external_userid)["external_contact"]["name"]
    assert found == {customer.external_userid: customer.name for customer in simulator.state.customers.values()}


def test_it_reads_and_changes_tags(simulator, client):
    contacts = client.external_contact
    groups = contacts.get_corp_tag_list()["tag_group"]
    assert [group["group_name"] for group in groups] == ["客户等级", "客户来源", "兴趣偏好", "跟进阶段"]
    customer = simulator.act("add_customer", staff="ChenSiYu")["external_userid"]
    contacts.mark_tag("ChenSiYu", customer, add_tag=["ettag0101"])
    follow = contacts.get(customer)["follow_user"][0]
    assert [tag["tag_name"] for tag in follow["tags"]] == ["普通会员"]


def test_it_raises_as_it_does_for_the_real_host(simulator, client):
    simulator.faults("/cgi-bin/user/get", errcode=45009)
    with pytest.raises(APILimitedException):
        client.user.get("ChenSiYu")
    simulator.faults("/cgi-bin/user/get", status=404)
    with pytest.raises(WeChatClientException):
        client.user.get("ChenSiYu")
    with pytest.raises(WeChatClientException) as caught:
        client.user.get("nobody")
    assert caught.value.errcode == 60111


def test_it_uploads_and_writes_to_staff(simulator, client):
    png = b"\x89PNG\r\n\x1a\n" + b"\0" * 32
    media_id = client.media.upload("image", ("a.png", png))["media_id"]
    client.message.send_image(1000025, ["ChenSiYu"], media_id=media_id)
    client.message.send_text(1000025, ["ChenSiYu"], content="新客户")
    sent = [message["msgtype"] for message in simulator.state.app_messages.values()]
    assert sent == ["image", "text"]
