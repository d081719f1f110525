"""A believable company, drawn from a seed. Pure: the same seed and day give the same company.

Its people are the simulator's (wxwork.simulator.company), under the same external_userids; here is what they do. Each
has a life of their own as a customer: a day on which they came, a pace of buying (a few come every other week, most
rarely), and after each purchase a chance that it was the last. So there are new customers and regulars, some fall
asleep, some are lost, and a few of those come back.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

from customers.records import CustomerData
from scrm.demo.catalogue import COLLECTIONS, basket
from wxwork.simulator.company import SHOP_NAMES, STAFF, Person, SampleCompany

# (kind of touch, channel, weight); the words a colleague would use in the time line
TOUCHES = [
    ("浏览小程序商品", "mini_program", 30), ("咨询客服", "wecom", 22), ("点击群发消息", "wecom", 14),
    ("阅读公众号文章", "official_account", 14), ("到店体验", "store", 10), ("观看直播", "douyin", 10),
]  # fmt: skip
SHOP_CHANNELS = [("store", 45), ("mini_program", 35), ("ecommerce", 12), ("douyin", 8)]
BUYERS = 0.62
# The chance that a purchase was the last one differs from customer to customer: a beta distribution.
GONE_ALPHA, GONE_BETA = 0.7, 2.6
COMES_BACK = 0.07
RETURNED_DAYS = 25
REFUNDED = 0.03
UNCLAIMED = 6
MET_DAYS = 400  # in which the simulator's people were met


@dataclass(frozen=True)
class Company:
    """seed: of everything below; now: aware, the end of the `days` days; customers: how many."""

    seed: int
    now: datetime
    customers: int = 3_000
    days: int = MET_DAYS

    @property
    def sample(self) -> SampleCompany:
        """The people, as the simulator serves them: only the staff who stand in STAFF."""
        return SampleCompany(self.seed, int(self.now.timestamp()), self.customers, len(STAFF))

    def own_fields(self) -> Iterator[CustomerData]:
        """Yield what the company's shops know of the customers, and WeCom does not."""
        return map(_own_fields, self.sample.people())

    def member_numbers(self) -> Iterator[tuple[str, str]]:
        """Yield (external_userid, member_no) as the shops' till would send them."""
        return ((self.external_userid(number), member_number(number)) for number in range(self.customers))

    def external_userid(self, number: int) -> str:
        return self.sample.external_userid(number)

    def behaviours(self) -> Iterator[dict[str, Any]]:
        """Yield what the customers did in the last `days` days, customer by customer, as POST behaviors/ takes it."""
        for person in self.sample.people():
            # They came when somebody of the staff met them.
            met = self.now.timestamp() - min(follow.created_at for follow in person.follows)
            yield from self._life(person.number, met / 86_400, Random(f"{self.seed}/behaviour/{person.number}"))
        yield from self._of_nobody_known()

    def _life(self, number: int, came: float, random: Random) -> Iterator[dict[str, Any]]:
        pace = 300 / random.gammavariate(0.9, 5.5) if random.random() < BUYERS else 0.0  # days between purchases
        bought = self._purchase_days(came, max(pace, 2.5), random) if pace else []
        for n, day in enumerate(bought):
            yield from self._purchase(number, n, day, random)
        last = bought[-1] if bought else came * random.random()
        touches = int(random.gauss(2.5 + 1.9 * min(len(bought), 30), 1.5))
        for n in range(max(touches, 0)):
            # Half of what somebody does lies around a purchase.
            day = random.choice(bought) if bought and random.random() < 0.5 else random.uniform(last, came)
            yield self._touch(number, n, day + random.uniform(0, 3), random)

    def _purchase_days(self, came: float, pace: float, random: Random) -> list[float]:
        """Return the ages in days of somebody's purchases, the oldest first."""
        gone = random.betavariate(GONE_ALPHA, GONE_BETA)
        age, days = came * random.uniform(0.93, 1), []
        while age >= 0:
            days.append(age)
            if len(days) > 1 and random.random() < gone:
                break
            age -= random.expovariate(1 / pace)
        if days[-1] > 120 and random.random() < COMES_BACK:
            days.append(random.uniform(0, RETURNED_DAYS))
        return days

    def _moment(self, age: float, random: Random) -> datetime:
        """Return a moment of a shop's day so many days ago; a company of fewer days does the same in less time."""
        days = max(age, 0) * self.days / MET_DAYS
        at = (self.now - timedelta(days=min(int(days), self.days))).replace(
            hour=min(max(int(random.gauss(16, 4)), 8), 22), minute=random.randint(0, 59), second=random.randint(0, 59)
        )
        return min(at, self.now - timedelta(minutes=1)).replace(microsecond=0)

    def _touch(self, number: int, n: int, age: float, random: Random) -> dict[str, Any]:
        what, channel, _weight = random.choices(TOUCHES, [weight for *_rest, weight in TOUCHES])[0]
        return {
            "event_id": f"demo-i-{number}-{n}",
            "external_userid": self.external_userid(number),
            "kind": "interaction",
            "channel": channel,
            "occurred_at": self._moment(age, random).isoformat(),
            "detail": {"说明": what},
        }

    def _purchase(self, number: int, n: int, age: float, random: Random) -> Iterator[dict[str, Any]]:
        favourite = list(COLLECTIONS)[number % len(COLLECTIONS)]
        items, amount = basket(favourite, random)
        bought_at = self._moment(age, random)
        purchase = {
            "event_id": f"demo-p-{number}-{n}",
            "external_userid": self.external_userid(number),
            "kind": "purchase",
            "channel": random.choices([c for c, _w in SHOP_CHANNELS], [w for _c, w in SHOP_CHANNELS])[0],
            "amount": amount,
            "occurred_at": bought_at.isoformat(),
            "detail": {"items": [{"id": item.id, "name": item.name} for item in items]},
        }
        yield purchase
        back_at = bought_at + timedelta(days=random.randint(1, 7))
        if random.random() < REFUNDED and back_at < self.now:
            yield {
                **purchase,
                "event_id": f"demo-r-{number}-{n}",
                "kind": "refund",
                "refers_to": purchase["event_id"],
                "occurred_at": back_at.isoformat(),
                "detail": {"说明": "七天无理由退货"},
            }

    def _of_nobody_known(self) -> Iterator[dict[str, Any]]:
        """Yield purchases of members whom nobody in WeCom has been found for yet: they wait."""
        random = Random(f"{self.seed}/unclaimed")
        for n in range(UNCLAIMED):
            items, amount = basket("茶具", random)
            yield {
                "event_id": f"demo-w-{n}",
                "identity": {"kind": "member_no", "value": member_number(900_000 + n)},
                "kind": "purchase",
                "channel": "store",
                "amount": amount,
                "occurred_at": self._moment(random.uniform(0, min(self.days, 40)), random).isoformat(),
                "detail": {"items": [{"id": item.id, "name": item.name} for item in items]},
            }


def member_number(number: int) -> str:
    """Return somebody's number in the shops' membership.

    >>> member_number(7)
    'QL000007'
    """
    return f"QL{number:06}"


def _own_fields(person: Person) -> CustomerData:
    return CustomerData(
        external_userid=person.external_userid,
        fields={
            "mobile": person.mobile,
            "attributes": {"会员号": member_number(person.number), "常去门店": SHOP_NAMES[person.shop]},
        },
    )
