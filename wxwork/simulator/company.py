"""The people of a believable company, drawn from a seed. Pure: the same seed, number and day give the same people.

青岚生活, a home-and-tea retailer: two regions with a department database each, seven shops and an online team below
them, staff, and customers who were met in the shops. The simulator serves them as a WeCom corp; scrm.demo derives what
they do and buy from the same numbers.

    external_userid   sha256 of seed and number, so that it is known without drawing anybody
    people            one random generator for each 256 of them, so that 100 000 take about 3 s
"""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

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
ADD_WAYS, ADD_WAY_SUMS = [1, 3, 4, 6, 16, 201], [50, 62, 78, 86, 96, 100]
STATES = ["store-qr", "mini-2026q3", "live-0918", ""]
PERSONAL_TAGS = ["喜欢喝白茶", "周末到店", "价格敏感", "送礼需求", "养猫"]
PERSONAL_GROUP = "个人标签"
ADVISER = "客户顾问"
STAFF_FOR_EACH = 500  # customers for each member of staff, where a company has more than its first twenty can know
CHUNK = 256


class Follow(NamedTuple):
    """What a member of staff knows of a customer; times in Unix seconds, lost_at None while they are friends."""

    userid: str
    remark: str
    description: str
    mobiles: tuple[str, ...]
    add_way: int
    state: str
    created_at: int
    lost_at: int | None
    tag_ids: tuple[str, ...]
    personal_tags: tuple[str, ...]


class Person(NamedTuple):
    number: int
    external_userid: str
    name: str
    type: int
    gender: int
    corp_name: str
    position: str
    mobile: str
    shop: int
    follows: tuple[Follow, ...]


class Member(NamedTuple):
    userid: str
    name: str
    position: str
    department: int


@dataclass(frozen=True)
class SampleCompany:
    """made_at: Unix seconds; everybody was met in the 400 days before. staff: 0 for as many as the customers need."""

    seed: int
    made_at: int
    customers: int
    staff: int = 0

    def members(self) -> list[Member]:
        """Return the staff: the twenty of STAFF, and as many more advisers as the company is large."""
        wanted = self.staff or max(len(STAFF), self.customers // STAFF_FOR_EACH)
        random = Random(f"{self.seed}/staff")
        more = [
            Member(f"GuWen{number:05}", name_of(random), ADVISER, SHOPS[number % len(SHOPS)])
            for number in range(len(STAFF), wanted)
        ]
        return [*(Member(*row) for row in STAFF[:wanted]), *more]

    def tags(self) -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
        """Yield (group id, group name, [(tag id, tag name)])."""
        for group, (name, tags) in enumerate(TAG_GROUPS, 1):
            yield f"etgroup{group:02}", name, [(f"ettag{group:02}{n:02}", tag) for n, tag in enumerate(tags, 1)]

    def people(self) -> Iterator[Person]:
        """Yield the customers with their follows and tags, in the order of their numbers."""
        by_shop: dict[int, list[str]] = {}
        for member in self.members():
            by_shop.setdefault(member.department, []).append(member.userid)
        shops = [shop for shop in SHOPS if shop in by_shop] or list(by_shop)
        random = Random()
        for number in range(self.customers):
            if number % CHUNK == 0:
                random = Random(f"{self.seed}/people/{number // CHUNK}")
            yield self._person(number, shops, by_shop, random)

    def external_userid(self, number: int) -> str:
        """Return whose number this is.

        >>> SampleCompany(1, 0, 0).external_userid(7) == SampleCompany(1, 99, 50).external_userid(7)
        True
        """
        digest = hashlib.sha256(f"{self.seed}/id/{number}".encode()).digest()
        return "wm" + base64.urlsafe_b64encode(digest)[:30].decode()

    def _person(self, number: int, shops: list[int], by_shop: dict[int, list[str]], random: Random) -> Person:
        draw = random.random
        male = draw() < 0.42
        name = name_of(random)
        shop = random.choice(shops)
        met = self.made_at - 60 * int(30 + draw() * 400 * 24 * 60)
        staff = by_shop[shop]
        userids = random.sample(staff, k=2) if draw() < 0.12 and len(staff) > 1 else [random.choice(staff)]
        is_business = draw() < 0.04
        mobile = f"1{random.choice('3578')}{int(draw() * 1_000_000_000):09}" if draw() < 0.6 else ""
        return Person(
            number=number,
            external_userid=self.external_userid(number),
            name=name,
            type=2 if is_business else 1,
            gender=(1 if male else 2) if draw() < 0.9 else 0,
            corp_name=random.choice(COMPANIES) if is_business else "",
            position=random.choice(["采购经理", "行政主管", "总经理"]) if is_business else "",
            mobile=mobile,
            shop=shop,
            follows=tuple(self._follow(userid, name, mobile, met, random) for userid in userids),
        )

    def _follow(self, userid: str, name: str, mobile: str, met: int, random: Random) -> Follow:
        draw = random.random
        return Follow(
            userid=userid,
            remark=f"{name[:12]}-{random.choice(['老客', '新客', '团购', '朋友介绍'])}" if draw() < 0.4 else "",
            description=random.choice(["偏好下午联系", "生日在春天", "常买茶具", "介绍过朋友"]) if draw() < 0.1 else "",
            mobiles=(mobile,) if mobile and draw() < 0.2 else (),
            add_way=random.choices(ADD_WAYS, cum_weights=ADD_WAY_SUMS)[0],
            state=STATES[int(draw() * len(STATES))],
            created_at=met,
            lost_at=met + int((self.made_at - met) * draw()) if draw() < 0.05 else None,
            tag_ids=tuple(
                f"ettag{group:02}{1 + int(draw() * len(names)):02}"
                for group, (_name, names) in enumerate(TAG_GROUPS, 1)
                if draw() < 0.55
            ),
            personal_tags=(random.choice(PERSONAL_TAGS),) if draw() < 0.06 else (),
        )


def name_of(random: Random) -> str:
    """Draw what somebody calls themselves."""
    if random.random() < 0.08:
        return random.choice(NICKNAMES)
    return random.choice(SURNAMES) + "".join(random.choices(GIVEN, k=1 if random.random() < 0.3 else 2))
