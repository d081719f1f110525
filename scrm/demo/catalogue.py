"""What the sample company sells, and what goes together. Pure.

Who buys from a collection mostly comes back to it, and what complements a thing often lies in the same basket or in the
next: so there is something to be found for whoever looks for items bought together.
"""

from random import Random
from typing import NamedTuple


class Item(NamedTuple):
    """id: of the shop; price in yuan; weight: how often it is chosen within its collection."""

    id: str
    name: str
    price: int
    weight: int


COLLECTIONS: dict[str, list[Item]] = {
    "茶具": [
        Item("T101", "青瓷盖碗套装", 268, 9), Item("T102", "手作陶杯", 88, 12), Item("T103", "柴烧公道杯", 168, 6),
        Item("T104", "竹制茶盘", 199, 5), Item("T105", "旅行茶具包", 239, 4),
    ],
    "茶叶": [
        Item("C201", "明前龙井 100g", 328, 8), Item("C202", "白茶饼 350g", 458, 6),
        Item("C203", "凤凰单丛 50g×2", 188, 7), Item("C204", "茉莉银针 50g", 98, 9),
    ],
    "香薰": [
        Item("F301", "雪松香薰蜡烛", 158, 9), Item("F302", "无火香薰补充液", 89, 10), Item("F303", "陶瓷扩香石", 69, 7),
        Item("F304", "桂花线香", 49, 8),
    ],
    "床品": [
        Item("B401", "亚麻四件套", 699, 5), Item("B402", "乳胶枕", 299, 7), Item("B403", "蚕丝夏被", 899, 3),
        Item("B404", "枕套一对", 99, 8),
    ],
    "餐厨": [
        Item("K501", "铸铁炖锅", 459, 4), Item("K502", "儿童餐盘", 79, 8), Item("K503", "橄榄木砧板", 139, 6),
        Item("K504", "玻璃密封罐三件", 89, 9),
    ],
    "绿植收纳": [
        Item("G601", "龟背竹盆栽", 129, 7), Item("G602", "竹编收纳篮", 69, 9), Item("G603", "园艺喷壶", 45, 8),
    ],
}  # fmt: skip
ITEMS = {item.id: item for items in COLLECTIONS.values() for item in items}
TOGETHER = {
    "T101": "C201", "T102": "C204", "T103": "C203", "T104": "T101", "T105": "C202", "C201": "T101", "C202": "T103",
    "C203": "T103", "C204": "T102", "F301": "F304", "F302": "F303", "F303": "F302", "B401": "B404", "B402": "B404",
    "B403": "B402", "K501": "K503", "K502": "K504", "G601": "G603", "G602": "K504",
}  # fmt: skip
TOGETHER_SHARE = 0.45
LOYAL_SHARE = 0.75
DISCOUNTS = (1, 1, 1, 0.9, 0.85)


def basket(favourite: str, random: Random) -> tuple[list[Item], str]:
    """Draw what somebody whose favourite collection this is puts into a basket, and what is paid for it."""
    name = favourite if random.random() < LOYAL_SHARE else random.choice(list(COLLECTIONS))
    chosen = random.choices(COLLECTIONS[name], [item.weight for item in COLLECTIONS[name]])[0]
    items = {chosen.id: chosen}
    other = TOGETHER.get(chosen.id)
    if other is not None and random.random() < TOGETHER_SHARE:
        items[other] = ITEMS[other]
    if random.random() < 0.12:
        one_more = random.choice(list(ITEMS.values()))
        items[one_more.id] = one_more
    paid = sum(item.price for item in items.values()) * random.choice(DISCOUNTS)
    return list(items.values()), f"{paid:.2f}"
