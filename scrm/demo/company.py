"""A believable company, drawn from a seed. Pure: the same seed and day give the same company.

Its people are the simulator's (wxwork.simulator.company), under the same external_userids; here is what they do: mostly
browse and sometimes buy. Buying follows a Zipf-like tail: a few buy a lot.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

from customers.records import CustomerData
from wxwork.simulator.company import SHOP_NAMES, STAFF, Person, SampleCompany

# (kind of touch, channel, weight); the words a colleague would use in the time line
TOUCHES = [
    ("浏览小程序商品", "mini_program", 30), ("咨询客服", "wecom", 22), ("点击群发消息", "wecom", 14),
    ("阅读公众号文章", "official_account", 14), ("到店体验", "store", 10), ("观看直播", "douyin", 10),
]  # fmt: skip
ITEMS = [
    ("青瓷盖碗套装", 268), ("手作陶杯", 88), ("明前龙井 100g", 328), ("白茶饼 350g", 458), ("雪松香薰蜡烛", 158),
    ("亚麻四件套", 699), ("乳胶枕", 299), ("铸铁炖锅", 459), ("龟背竹盆栽", 129), ("儿童餐盘", 79), ("竹编收纳篮", 69),
]  # fmt: skip
SHOP_CHANNELS = [("store", 45), ("mini_program", 35), ("ecommerce", 12), ("douyin", 8)]


@dataclass(frozen=True)
class Company:
    """seed: of everything below; now: aware, the end of the 90 days; customers: how many."""

    seed: int
    now: datetime
    customers: int = 3_000
    days: int = 90

    @property
    def sample(self) -> SampleCompany:
        """The people, as the simulator serves them: only the staff who stand in STAFF."""
        return SampleCompany(self.seed, int(self.now.timestamp()), self.customers, len(STAFF))

    def own_fields(self) -> Iterator[CustomerData]:
        """Yield what the company's shops know of the customers, and WeCom does not."""
        return map(_own_fields, self.sample.people())

    def external_userid(self, number: int) -> str:
        return self.sample.external_userid(number)

    def behaviours(self) -> Iterator[dict[str, Any]]:
        """Yield what the customers did in the last `days` days, customer by customer, as POST behaviors/ takes it."""
        for number in range(self.customers):
            random = Random(f"{self.seed}/behaviour/{number}")
            # Pareto: half do next to nothing, a few per cent come every other day.
            warmth = min(random.paretovariate(1.1) - 1, 30)
            touches = int(random.gauss(2 + 2.6 * warmth, 1.5))
            purchases = int(random.gauss(0.8 * warmth, 0.8))
            for n in range(max(touches, 0)):
                yield self._touch(number, n, random)
            for n in range(max(purchases, 0)):
                yield from self._purchase(number, n, random)

    def _moment(self, random: Random) -> datetime:
        """Draw a moment of a shop's day, evenings and recent weeks more often."""
        day = int(self.days * (1 - random.random() ** 0.8))
        at = (self.now - timedelta(days=day)).replace(
            hour=min(max(int(random.gauss(16, 4)), 8), 22), minute=random.randint(0, 59), second=random.randint(0, 59)
        )
        return min(at, self.now - timedelta(minutes=1)).replace(microsecond=0)

    def _touch(self, number: int, n: int, random: Random) -> dict[str, Any]:
        what, channel, _weight = random.choices(TOUCHES, [weight for *_rest, weight in TOUCHES])[0]
        return {
            "event_id": f"demo-i-{number}-{n}",
            "external_userid": self.external_userid(number),
            "kind": "interaction",
            "channel": channel,
            "occurred_at": self._moment(random).isoformat(),
            "detail": {"说明": what},
        }

    def _purchase(self, number: int, n: int, random: Random) -> Iterator[dict[str, Any]]:
        basket = random.sample(ITEMS, k=random.choices([1, 2, 3], [6, 3, 1])[0])
        amount = f"{sum(price for _item, price in basket) * random.choice([1, 1, 1, 0.9, 0.85]):.2f}"
        bought_at = self._moment(random)
        purchase = {
            "event_id": f"demo-p-{number}-{n}",
            "external_userid": self.external_userid(number),
            "kind": "purchase",
            "channel": random.choices([c for c, _w in SHOP_CHANNELS], [w for _c, w in SHOP_CHANNELS])[0],
            "amount": amount,
            "occurred_at": bought_at.isoformat(),
            "detail": {"商品": [item for item, _price in basket]},
        }
        yield purchase
        back_at = bought_at + timedelta(days=random.randint(1, 7))
        if random.random() < 0.03 and back_at < self.now:
            yield {
                **purchase,
                "event_id": f"demo-r-{number}-{n}",
                "kind": "refund",
                "refers_to": purchase["event_id"],
                "occurred_at": back_at.isoformat(),
                "detail": {"说明": "七天无理由退货"},
            }


def _own_fields(person: Person) -> CustomerData:
    return CustomerData(
        external_userid=person.external_userid,
        fields={
            "mobile": person.mobile,
            "attributes": {"会员号": f"QL{person.number:06}", "常去门店": SHOP_NAMES[person.shop]},
        },
    )
