"""A believable company, drawn from a seed. Pure: the same seed and day give the same company.

青岚生活, a home-and-tea retailer: two regions with a department database each, seven shops and an online team below
them, 20 staff, and customers who mostly browse and sometimes buy. Buying follows a Zipf-like tail: a few buy a lot.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

from customers.records import CustomerData, FollowData

HOMES = (100, 101)
DEPARTMENTS: list[tuple[int, str, int | None]] = [
    (1, "青岚生活", None),
    (100, "华东大区", 1),
    (101, "华南大区", 1),
    (110, "上海南京西路店", 100),
    (111, "杭州湖滨银泰店", 100),
    (112, "苏州中心店", 100),
    (113, "华东线上运营组", 100),
    (120, "深圳万象天地店", 101),
    (121, "广州天河城店", 101),
    (122, "厦门磐基店", 101),
]
SHOPS = [number for number, _name, parent in DEPARTMENTS if parent in HOMES]
SHOP_NAMES = {number: name for number, name, _parent in DEPARTMENTS}
STAFF = [
    ("LinWanQing", "林婉清", "区域经理", 100), ("ZhouMingYuan", "周明远", "店长", 110),
    ("ChenSiYu", "陈思雨", "客户顾问", 110), ("XuJiaHao", "徐嘉豪", "客户顾问", 110),
    ("ShenYue", "沈悦", "店长", 111), ("QianDuoDuo", "钱多多", "客户顾问", 111),
    ("WuZiHan", "吴子涵", "客户顾问", 111), ("GuChangFeng", "顾长风", "店长", 112),
    ("JiangXin", "蒋欣", "客户顾问", 112), ("HeTian", "何甜", "社群运营", 113),
    ("FanYiLin", "范一琳", "直播运营", 113), ("HuangGuoQiang", "黄国强", "区域经理", 101),
    ("LiangJingRu", "梁静茹", "店长", 120), ("OuYangFeng", "欧阳枫", "客户顾问", 120),
    ("TanXiaoLi", "谭小丽", "客户顾问", 120), ("ZengZhiWei", "曾志伟", "店长", 121),
    ("LuoMeiLing", "罗美玲", "客户顾问", 121), ("MaiWenJie", "麦文杰", "客户顾问", 121),
    ("SuYaTing", "苏雅婷", "店长", 122), ("YeZiXuan", "叶子轩", "客户顾问", 122),
]  # fmt: skip
TAG_GROUPS = [
    ("客户等级", ["普通会员", "银卡会员", "金卡会员"]),
    ("客户来源", ["门店扫码", "小程序", "老客推荐", "直播间", "企业采购"]),
    ("兴趣偏好", ["茶具", "香薰", "床品", "餐厨", "绿植", "儿童用品"]),
    ("跟进阶段", ["初次接触", "需求明确", "已报价", "已成交", "待唤醒"]),
]
SURNAMES = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎"
    "余潘杜戴夏钟汪田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文"
)
GIVEN = (
    "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉兰红梅琳佳怡欣悦子涵梓萱浩宇轩雨桐思远嘉慧诗雅晨曦"
    "若溪一诺依然可馨俊熙博文天佑锦程雪莹婉清志远建国海燕晓东春花秋月冬梅夏至安宁清和景行"
)
NICKNAMES = [
    "小鱼儿🐟", "A01 装修建材王总", "向日葵🌻", "一杯清茶", "Lily.", "阿May", "慢生活", "平安是福", "豆豆妈",
    "Kevin 陈", "山有木兮", "乐乐爸爸", "CC", "半夏微凉", "老张（五金）", "木子李", "今天也要加油鸭", "Sunny☀️",
    "静待花开", "海阔天空",
]  # fmt: skip
COMPANIES = [
    "杭州云栖设计工作室",
    "上海和禾餐饮管理有限公司",
    "深圳前海远航贸易有限公司",
    "苏州木石民宿",
    "广州悦享会务服务有限公司",
]
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
ID_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"


@dataclass(frozen=True)
class Company:
    """seed: of everything below; now: aware, the end of the 90 days; customers: how many."""

    seed: int
    now: datetime
    customers: int = 3_000
    days: int = 90

    def tags(self) -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
        """Yield (group id, group name, [(tag id, tag name)])."""
        for group, (name, tags) in enumerate(TAG_GROUPS, 1):
            yield f"etgroup{group:02}", name, [(f"ettag{group:02}{n:02}", tag) for n, tag in enumerate(tags, 1)]

    def people(self) -> Iterator[CustomerData]:
        """Yield the customers with their follows and tags, each the same whatever the others are."""
        for number in range(self.customers):
            yield self._person(number, Random(f"{self.seed}/person/{number}"))

    def external_userid(self, number: int) -> str:
        random = Random(f"{self.seed}/id/{number}")
        return "wm" + "".join(random.choices(ID_LETTERS, k=30))

    def _person(self, number: int, random: Random) -> CustomerData:
        male = random.random() < 0.42
        name = self._name(random)
        shop = random.choice(SHOPS)
        met = self.now - timedelta(minutes=random.randint(30, 400 * 24 * 60))
        staff = [userid for userid, _name, _title, department in STAFF if department == shop]
        userids = random.sample(staff, k=2 if random.random() < 0.12 and len(staff) > 1 else 1)
        is_business = random.random() < 0.04
        return CustomerData(
            external_userid=self.external_userid(number),
            fields={
                "name": name,
                "type": 2 if is_business else 1,
                "gender": random.choices([1 if male else 2, 0], [9, 1])[0],
                "corp_name": random.choice(COMPANIES) if is_business else "",
                "position": random.choice(["采购经理", "行政主管", "总经理"]) if is_business else "",
                "mobile": f"1{random.choice('3578')}{random.randint(0, 999_999_999):09}"
                if random.random() < 0.6
                else "",
                "attributes": {"会员号": f"QL{number:06}", "常去门店": SHOP_NAMES[shop]},
            },
            follows=tuple(self._follow(userid, name, met, random) for userid in userids),
        )

    def _name(self, random: Random) -> str:
        if random.random() < 0.08:
            return random.choice(NICKNAMES)
        return random.choice(SURNAMES) + "".join(random.choices(GIVEN, k=random.choices([1, 2], [3, 7])[0]))

    def _follow(self, userid: str, name: str, met: datetime, random: Random) -> FollowData:
        tags = [
            f"ettag{group:02}{random.randint(1, len(names)):02}"
            for group, (_name, names) in enumerate(TAG_GROUPS, 1)
            if random.random() < 0.55
        ]
        lost = random.random() < 0.05
        return FollowData(
            userid=userid,
            remark=f"{name}-{random.choice(['老客', '新客', '团购', '朋友介绍'])}" if random.random() < 0.4 else "",
            add_way=random.choices([1, 3, 4, 6, 16, 201], [50, 12, 16, 8, 10, 4])[0],
            state=random.choice(["store-qr", "mini-2026q3", "live-0918", ""]),
            created_at=met,
            lost_at=met + (self.now - met) * random.random() if lost else None,
            tag_ids=tuple(tags),
        )

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
