"""Many changes at once, drawn from a seed: load for the callback endpoint, drift for a reconcile, life for the demo."""

from random import Random
from typing import Any

from wxwork.simulator.acts.customers import (
    add_customer,
    customer_deletes_staff,
    delete_customer,
    edit_customer,
    readd_customer,
)
from wxwork.simulator.acts.registry import ActError, Doing, act
from wxwork.simulator.state import DELETED_BY_CUSTOMER, FULL, Relation

KINDS = ("add", "edit", "tag", "lost", "delete", "readd")
WEIGHTS = {"add": 40, "edit": 25, "tag": 20, "lost": 7, "delete": 5, "readd": 3}
REMARKS = ["老客户", "需要回访", "周末到店", "送过样品", "已成交"]


@act
def bulk(doing: Doing, *, n: int, seed: int = 0, kinds: list[str] | None = None) -> dict[str, Any]:
    """Do n random changes. kinds: of add, edit, tag, lost (the customer removes staff), delete, readd. Returns counts
    and, in order, what was done: [kind, external_userid, userid]."""
    chosen = list(kinds or KINDS)
    if unknown := [kind for kind in chosen if kind not in KINDS]:
        raise ActError(f"No kind {unknown[0]!r}; there are: {', '.join(KINDS)}.")
    if not 1 <= n <= 100_000:
        raise ActError("n is 1 to 100000.")
    if not doing.state.serving_staff():
        raise ActError("Nobody has 客户联系 and is visible.")
    random = Random(f"{seed}/bulk")
    crowd = Crowd(doing)
    done: list[list[str]] = []
    for _ in range(n):
        kind = random.choices(chosen, [WEIGHTS[kind] for kind in chosen])[0]
        done.append(_change(doing, kind, crowd, random))
    counts = {kind: sum(1 for one in done if one[0] == kind) for kind in KINDS}
    return {"counts": {kind: count for kind, count in counts.items() if count}, "done": done}


class Crowd:
    """The relations that one may draw from: those that something can happen to now."""

    def __init__(self, doing: Doing) -> None:
        relations = [relation for staff in doing.state.serving_staff() for relation in staff.relations.values()]
        self.friends = [relation for relation in relations if relation.status == FULL]
        # WeCom's times are whole seconds: nobody comes and goes within one, which no reader could put in order.
        before = doing.now - 1
        self.friends = [r for r in relations if r.status == FULL and r.createtime < before]
        self.lost = [r for r in relations if r.status == DELETED_BY_CUSTOMER and (r.lost_at or 0) < before]

    def draw(self, relations: list[Relation], random: Random) -> Relation | None:
        """Take a relation out of a list, or return None from an empty one."""
        if not relations:
            return None
        place = random.randrange(len(relations))
        relations[place], relations[-1] = relations[-1], relations[place]
        return relations.pop()


def _change(doing: Doing, kind: str, crowd: Crowd, random: Random) -> list[str]:
    drawn = crowd.draw(crowd.lost if kind == "readd" else crowd.friends, random) if kind != "add" else None
    if drawn is None:  # an add, or nobody is left to do it to
        return _add(doing, random)
    whom: dict[str, Any] = {"external_userid": drawn.external_userid, "userid": drawn.userid}
    if kind == "edit":
        edit_customer(doing, **whom, remark=f"{random.choice(REMARKS)}{random.randint(1, 999)}")
        crowd.friends.append(drawn)
    elif kind == "tag":
        groups = doing.state.live_groups()
        tags = [tag.id for group in groups for tag in group.tags.values() if not tag.deleted]
        edit_customer(doing, **whom, tags=random.sample(tags, k=min(len(tags), random.randint(0, 3))))
        crowd.friends.append(drawn)
    elif kind == "lost":
        customer_deletes_staff(doing, **whom)
    elif kind == "delete":
        delete_customer(doing, **whom)
    else:
        readd_customer(doing, **whom, welcome=False)
    return [kind, drawn.external_userid, drawn.userid]


def _add(doing: Doing, random: Random) -> list[str]:
    staff = random.choice(doing.state.serving_staff())
    state = random.choice(["store-qr", "mini-2026q3", "live-0918", ""])
    made = add_customer(doing, staff=staff.userid, state=state, gender=random.choice([0, 1, 2]))
    return ["add", str(made["external_userid"]), staff.userid]
