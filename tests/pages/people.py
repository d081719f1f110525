"""The sample company written straight into the tables, as a sync with the simulator would bring it."""

from datetime import UTC, datetime

from customers.directory import upsert_many
from customers.models import Department, Staff, Tag, TagGroup
from customers.organisation import organisation
from customers.records import CustomerData, FollowData
from scrm.demo.company import Company
from wxwork.simulator.company import DEPARTMENTS, SHOP_NAMES, STAFF, Follow, Person


def seed_organisation(company: Company) -> None:
    for order, (number, name, parent) in enumerate(DEPARTMENTS):
        Department.objects.update_or_create(id=number, defaults={"name": name, "parent_id": parent, "order": order})
    for userid, name, position, department in STAFF:
        staff, _created = Staff.objects.update_or_create(userid=userid, defaults={"name": name, "position": position})
        staff.departments.set([department])
    for order, (group_id, name, tags) in enumerate(company.sample.tags()):
        TagGroup.objects.update_or_create(id=group_id, defaults={"name": name, "order": order})
        for tag_id, tag in tags:
            Tag.objects.update_or_create(id=tag_id, defaults={"name": tag, "group_id": group_id})
    organisation.forget()


def seed_customers(company: Company) -> None:
    assert upsert_many([customer(person) for person in company.sample.people()]).rejected == {}


def customer(person: Person) -> CustomerData:
    return CustomerData(
        external_userid=person.external_userid,
        fields={
            "name": person.name,
            "type": person.type,
            "gender": person.gender,
            "corp_name": person.corp_name,
            "position": person.position,
            "mobile": person.mobile,
            "attributes": {"会员号": f"QL{person.number:06}", "常去门店": SHOP_NAMES[person.shop]},
        },
        follows=tuple(map(follow, person.follows)),
    )


def follow(given: Follow) -> FollowData:
    return FollowData(
        userid=given.userid,
        remark=given.remark,
        description=given.description,
        mobiles=given.mobiles,
        add_way=given.add_way,
        state=given.state,
        created_at=datetime.fromtimestamp(given.created_at, UTC),
        lost_at=None if given.lost_at is None else datetime.fromtimestamp(given.lost_at, UTC),
        tag_ids=given.tag_ids,
    )
