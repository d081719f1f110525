"""The corp: who works there, whom they follow, how customers are tagged, and what the API has made.

A relation (staff, customer) goes   none -> half -> full -> deleted_by_customer (still readable)
                                                        -> none             (the member deleted it: 84061)
Everything is guarded by one lock, which a caller holds around each call or act. Nothing here sends a callback.
"""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from wxwork.simulator.answers import Refused
from wxwork.simulator.clock import Clock
from wxwork.simulator.company import DEPARTMENTS, PERSONAL_GROUP, SHOPS, Follow, Person, SampleCompany

HALF, FULL, DELETED_BY_CUSTOMER = "half", "full", "deleted_by_customer"
STRATEGY_ID = 1
FIRST_ORDER = 100_000_000
OWN_APP = 1000025


@dataclass(slots=True)
class Department:
    id: int
    name: str
    parentid: int
    order: int
    name_en: str = ""
    leaders: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Relation:
    """What a member of staff has on a customer. `number` grows: it is the order in which the API lists relations."""

    number: int
    userid: str
    external_userid: str
    status: str
    createtime: int
    remark: str = ""
    description: str = ""
    mobiles: tuple[str, ...] = ()
    corp_name: str = ""
    tag_ids: tuple[str, ...] = ()
    personal_tags: tuple[tuple[str, str], ...] = ()
    add_way: int = 0
    oper_userid: str = ""
    state: str = ""
    lost_at: int | None = None

    @property
    def is_readable(self) -> bool:
        """Whether the relation API answers: a customer who has removed the member is still there."""
        return self.status != HALF


@dataclass(slots=True)
class Staff:
    """departments and leads are aligned. relations by external_userid, in the order in which they began."""

    userid: str
    name: str
    departments: list[int]
    leads: list[int]
    position: str = ""
    alias: str = ""
    mobile: str = ""
    telephone: str = ""
    direct_leader: str = ""
    status: int = 1
    main_department: int = 0
    has_customer_contact: bool = True
    is_verified: bool = True
    customer_limit: int = 20_000
    has_console_welcome: bool = False
    relations: dict[str, Relation] = field(default_factory=dict)


@dataclass(slots=True)
class Customer:
    external_userid: str
    name: str
    type: int = 1
    gender: int = 0
    corp_name: str = ""
    position: str = ""
    avatar: str = ""
    relations: list[Relation] = field(default_factory=list)

    @property
    def unionid(self) -> str:
        return "o" + hashlib.sha256(self.external_userid.encode()).hexdigest()[:27] if self.type == 1 else ""


@dataclass(slots=True)
class Tag:
    id: str
    name: str
    group_id: str
    created_at: int
    order: int
    deleted: bool = False


@dataclass(slots=True)
class TagGroup:
    """owner: the agent that made it by API, or 0 for the console, which the API may edit. strategy_id: 0 for none."""

    id: str
    name: str
    created_at: int
    order: int
    tags: dict[str, Tag] = field(default_factory=dict)
    owner: int = OWN_APP
    strategy_id: int = 0
    deleted: bool = False


@dataclass(slots=True)
class StaffTag:
    id: int
    name: str
    userids: list[str] = field(default_factory=list)
    departments: list[int] = field(default_factory=list)
    owner: int = OWN_APP


@dataclass(slots=True)
class GroupMember:
    id: str
    type: int
    join_time: int
    join_scene: int
    invitor: str = ""
    nickname: str = ""
    state: str = ""


@dataclass(slots=True)
class Group:
    """A customer group (客户群). status: 0 normal, 1 owner left, 2 inheriting, 3 inherited."""

    chat_id: str
    name: str
    owner: str
    create_time: int
    notice: str = ""
    status: int = 0
    members: dict[str, GroupMember] = field(default_factory=dict)
    admins: list[str] = field(default_factory=list)
    version: str = ""
    dismissed: bool = False
    moves: list[int] = field(default_factory=list)
    # What groupchat/get still shows, and until when, while details lag behind callbacks.
    lagging: "dict[str, Any] | None" = None
    lags_until: float = 0.0


@dataclass(slots=True)
class WelcomeCode:
    userid: str
    external_userid: str
    expires_at: float
    used_by: int = 0
    in_flight_by: int = 0
    sent: "dict[str, Any] | None" = None


@dataclass(slots=True)
class Unassigned:
    """A customer of somebody who has left."""

    handover_userid: str
    external_userid: str
    dimission_time: int
    relation: Relation


@dataclass(slots=True)
class Transfer:
    """status: 1 done, 2 waiting, 3 refused, 4 the taker's limit is reached."""

    handover_userid: str
    takeover_userid: str
    external_userid: str
    status: int
    takeover_time: int
    resigned: bool


class State:
    """Everything of the corp. Made from a sample company; the same one gives the same state."""

    def __init__(self, company: SampleCompany, clock: Clock, corp_id: str) -> None:
        self.lock = threading.RLock()
        self.clock = clock
        self.corp_id = corp_id
        self.company = company
        self.random = Random(f"{company.seed}/state")
        self.departments: dict[int, Department] = {}
        self.staff: dict[str, Staff] = {}
        self.left: dict[str, Staff] = {}
        self.customers: dict[str, Customer] = {}
        self.tag_groups: dict[str, TagGroup] = {}
        self.tags: dict[str, Tag] = {}
        self.staff_tags: dict[int, StaffTag] = {}
        self.groups: dict[str, Group] = {}
        self.welcome_codes: dict[str, WelcomeCode] = {}
        self.unassigned: list[Unassigned] = []
        self.transfers: list[Transfer] = []
        self.contact_ways: dict[str, dict[str, Any]] = {}
        self.join_ways: dict[str, dict[str, Any]] = {}
        self.links: dict[str, dict[str, Any]] = {}
        self.chat_keys: dict[str, dict[str, Any]] = {}
        self.mass_messages: dict[str, Any] = {}
        self.templates: dict[str, dict[str, Any]] = {}
        self.media: dict[str, Any] = {}
        self.app_messages: dict[str, dict[str, Any]] = {}
        self.visible_departments: set[int] | None = None
        self.is_bound_to_wechat = True
        self.gained: dict[tuple[str, int], int] = {}
        self.lost: dict[tuple[str, int], int] = {}
        self._numbers = 0
        self._ids = 0
        self._fill()

    def __getstate__(self) -> dict[str, Any]:
        """Return all but the lock and the clock, which belong to a process."""
        return {name: value for name, value in vars(self).items() if name not in ("lock", "clock")}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        self.__dict__.update(kept)
        self.lock, self.clock = threading.RLock(), Clock()

    # ---------------------------------------------------------------------------------------------------------- making
    def _fill(self) -> None:
        for place, (number, name, parent) in enumerate(DEPARTMENTS):
            self.departments[number] = Department(number, name, parent or 0, FIRST_ORDER - place * 1000)
        for member in self.company.members():
            self.add_staff(member.userid, member.name, [member.department], position=member.position)
        leaders = [staff for staff in self.staff.values() if staff.position in ("店长", "区域经理")]
        for staff in leaders:
            staff.leads = [1]
            self.departments[staff.departments[0]].leaders.append(staff.userid)
        made_at = self.company.made_at - 400 * 86_400
        for place, (group_id, name, tags) in enumerate(self.company.tags()):
            group = TagGroup(group_id, name, made_at, 100 - place)
            self.tag_groups[group_id] = group
            for order, (tag_id, tag) in enumerate(tags):
                self._put_tag(group, Tag(tag_id, tag, group_id, made_at, 100 - order))
        rule_group = TagGroup("stgroup01", "规则组-华东", made_at, 1, strategy_id=STRATEGY_ID)
        self.tag_groups[rule_group.id] = rule_group
        self._put_tag(rule_group, Tag("sttag0101", "重点", rule_group.id, made_at, 2))
        self._put_tag(rule_group, Tag("sttag0102", "观察", rule_group.id, made_at, 1))
        self.staff_tags[1] = StaffTag(1, "金牌顾问", [staff.userid for staff in leaders][:5], [SHOPS[0]])
        for person in self.company.people():
            self._put_person(person)
        self._make_groups()

    def _put_tag(self, group: TagGroup, tag: Tag) -> None:
        group.tags[tag.id] = tag
        self.tags[tag.id] = tag

    def _put_person(self, person: Person) -> None:
        customer = Customer(
            person.external_userid, person.name, person.type, person.gender, person.corp_name, person.position
        )
        self.customers[person.external_userid] = customer
        for follow in person.follows:
            self._put_follow(customer, follow)

    def _put_follow(self, customer: Customer, follow: Follow) -> None:
        relation = Relation(
            number=self._next_number(),
            userid=follow.userid,
            external_userid=customer.external_userid,
            status=FULL if follow.lost_at is None else DELETED_BY_CUSTOMER,
            createtime=follow.created_at,
            remark=follow.remark,
            description=follow.description,
            mobiles=follow.mobiles,
            tag_ids=follow.tag_ids,
            personal_tags=tuple((PERSONAL_GROUP, name) for name in follow.personal_tags),
            add_way=follow.add_way,
            oper_userid=customer.external_userid if follow.add_way == 1 else follow.userid,
            state=follow.state,
            lost_at=follow.lost_at,
        )
        customer.relations.append(relation)
        self.staff[follow.userid.lower()].relations[customer.external_userid] = relation

    def _make_groups(self) -> None:
        """Make a customer group for each of the first staff who have customers."""
        owners = [staff for staff in self.staff.values() if staff.relations][:6]
        for staff in owners:
            created = self.company.made_at - 90 * 86_400
            group = Group(self.new_id("wr"), f"{staff.name}的福利群", staff.userid, created, notice="请文明交流")
            group.members[staff.userid] = GroupMember(staff.userid, 1, created, 1, staff.userid)
            for place, external_userid in enumerate(list(staff.relations)[:5]):
                group.members[external_userid] = GroupMember(external_userid, 2, created + 60 * place, 3)
            self.change_version(group)
            self.groups[group.chat_id] = group

    # --------------------------------------------------------------------------------------------------------- numbers
    def _next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def new_id(self, prefix: str, length: int = 30) -> str:
        """Return an id that is like WeCom's and the same in every run of the same acts."""
        self._ids += 1
        digest = hashlib.sha256(f"{self.company.seed}/{prefix}/{self._ids}".encode()).hexdigest()
        return prefix + digest[:length]

    def change_version(self, group: Group) -> tuple[str, str]:
        """Give a group the member_version of its next state. Returns (before, after)."""
        before = group.version
        self._ids += 1
        group.version = hashlib.md5(f"{group.chat_id}/{self._ids}".encode(), usedforsecurity=False).hexdigest()
        return before, group.version

    # ----------------------------------------------------------------------------------------------------------- staff
    def add_staff(self, userid: str, name: str, departments: list[int], *, position: str = "") -> Staff:
        staff = Staff(userid, name, list(departments), [0] * len(departments), position, main_department=departments[0])
        self.staff[userid.lower()] = staff
        return staff

    def find_staff(self, userid: str) -> Staff | None:
        """Return who works here under this id, in whatever case it is written."""
        return self.staff.get(userid.lower())

    def is_visible(self, staff: Staff) -> bool:
        """Whether the app sees them: its visible range holds one of their departments or of those above."""
        if self.visible_departments is None:
            return True
        return any(self._is_below(number, self.visible_departments) for number in staff.departments)

    def _is_below(self, number: int, tops: set[int]) -> bool:
        while number:
            if number in tops:
                return True
            department = self.departments.get(number)
            number = department.parentid if department else 0
        return False

    def subtree(self, root: int) -> list[Department]:
        """Return a department and all below it, larger order first."""
        found = [d for d in self.departments.values() if self._is_below(d.id, {root})]
        return sorted(found, key=lambda department: -department.order)

    def serving_staff(self) -> list[Staff]:
        """Return the staff whom customer endpoints reach: 客户联系 on, and in the visible range."""
        return [s for s in self.staff.values() if s.has_customer_contact and self.is_visible(s)]

    def serving(self, userid: str) -> Staff:
        """Return a member whom customer endpoints reach. Raises Refused as they do."""
        if not 0 < len(userid.encode()) <= 64:
            raise Refused(40003)
        staff = self.find_staff(userid)
        if staff is None:
            raise Refused(60111)
        if not self.is_visible(staff):
            raise Refused(60011)
        if not staff.has_customer_contact:
            raise Refused(84074)
        return staff

    # ------------------------------------------------------------------------------------------------------- relations
    def relation(self, userid: str, external_userid: str) -> Relation:
        """Return what relation endpoints may read and write. Raises Refused: 40096 unknown customer, 84061 none."""
        staff = self.serving(userid)
        if external_userid not in self.customers:
            raise Refused(40096)
        relation = staff.relations.get(external_userid)
        if relation is None or not relation.is_readable:
            raise Refused(84061)
        return relation

    def readable_relations(self, customer: Customer) -> list[Relation]:
        """Return the followers that externalcontact/get lists."""
        found = []
        for relation in customer.relations:
            staff = self.staff.get(relation.userid.lower())
            if relation.is_readable and staff and staff.has_customer_contact and self.is_visible(staff):
                found.append(relation)
        return found

    def begin_relation(self, staff: Staff, customer: Customer, **fields: Any) -> Relation:
        """Make a relation, replacing one that is there."""
        self.end_relation(staff, customer.external_userid)
        relation = Relation(self._next_number(), staff.userid, customer.external_userid, **fields)
        staff.relations[customer.external_userid] = relation
        customer.relations.append(relation)
        return relation

    def end_relation(self, staff: Staff, external_userid: str) -> Relation | None:
        relation = staff.relations.pop(external_userid, None)
        if relation is not None:
            self.customers[external_userid].relations.remove(relation)
        return relation

    def iter_relations(self) -> Iterator[Relation]:
        for staff in self.staff.values():
            yield from staff.relations.values()

    # ------------------------------------------------------------------------------------------------------------ tags
    def usable_tag(self, tag_id: str) -> Tag:
        tag = self.tags.get(tag_id)
        if tag is None or tag.deleted:
            raise Refused(40068)
        return tag

    def live_groups(self, *, strategy_id: int = 0) -> list[TagGroup]:
        """Return tag groups that are not deleted, larger order first."""
        groups = [g for g in self.tag_groups.values() if not g.deleted and g.strategy_id == strategy_id]
        return sorted(groups, key=lambda group: (-group.order, group.id))

    def delete_tag(self, tag: Tag) -> None:
        """Delete a tag: it comes off every relation, and its group goes with its last tag."""
        tag.deleted = True
        for relation in self.iter_relations():
            if tag.id in relation.tag_ids:
                relation.tag_ids = tuple(one for one in relation.tag_ids if one != tag.id)
        group = self.tag_groups[tag.group_id]
        if all(one.deleted for one in group.tags.values()):
            group.deleted = True

    def delete_tag_group(self, group: TagGroup) -> None:
        for tag in group.tags.values():
            if not tag.deleted:
                self.delete_tag(tag)
        group.deleted = True

    # ---------------------------------------------------------------------------------------------------------- counts
    def count_gain(self, userid: str) -> None:
        """Count a gained customer for the statistics of a day."""
        self._count(self.gained, userid)

    def count_loss(self, userid: str) -> None:
        self._count(self.lost, userid)

    def _count(self, counts: dict[tuple[str, int], int], userid: str) -> None:
        key = (userid, day_of(self.clock.seconds()))
        counts[key] = counts.get(key, 0) + 1

    def counts(self) -> dict[str, int]:
        """Return how many there are of each kind."""
        statuses = {HALF: 0, FULL: 0, DELETED_BY_CUSTOMER: 0}
        for relation in self.iter_relations():
            statuses[relation.status] += 1
        listed = {r.external_userid for s in self.serving_staff() for r in s.relations.values() if r.is_readable}
        return {
            "departments": len(self.departments),
            "staff": len(self.staff),
            "staff_left": len(self.left),
            "customers": len(self.customers),
            "customers_listed": len(listed),
            "follows": statuses[FULL] + statuses[DELETED_BY_CUSTOMER],
            "follows_half": statuses[HALF],
            "follows_deleted_by_customer": statuses[DELETED_BY_CUSTOMER],
            "tag_groups": len(self.live_groups()),
            "tags": sum(1 for g in self.live_groups() for tag in g.tags.values() if not tag.deleted),
            "groups": sum(1 for group in self.groups.values() if not group.dismissed),
            "unassigned": len(self.unassigned),
            "contact_ways": len(self.contact_ways),
            "mass_messages": len(self.mass_messages),
            "app_messages": len(self.app_messages),
            "welcomes_sent": sum(1 for code in self.welcome_codes.values() if code.sent is not None),
        }


def day_of(seconds: int) -> int:
    """Return the Unix seconds of that day's midnight in China (UTC+8), which WeCom's statistics count by."""
    return (seconds + 8 * 3600) // 86_400 * 86_400 - 8 * 3600
