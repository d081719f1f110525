"""What segments and recommendation rules read of a block of customers beyond what rules do.

| fact                                        | read from                                                | missing is |
|---------------------------------------------|----------------------------------------------------------|------------|
| all that profiles.totals reads              | as there                                                 |            |
| profile, lifecycle                          | customers, as stored by the last run                     | ""         |
| home, gender, type, created_day             | customers                                                |            |
| recency_score …, alive_percent, expected_…  | customer_scores, as stored by the last run               | nan        |
| rfm_segment, loss_warning                   | customer_scores                                          | ""         |
| add_way:<n>, follow_state:<text>,           | follows that are not lost; the staff of a department and | False      |
|   followed_by:<userid>, department:<id>     |   of all below it, as held (customers.organisation)      |            |
| segment:<id>                                | segment_members                                          | False      |

Read is only what somebody needs: one COPY each for customers, scores, follows and members of a block, where any is.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from customers.organisation import organisation
from profiles import columns
from profiles.days import day_zone
from profiles.rules import LIFECYCLES, LOSS_WARNINGS, RFM_SEGMENTS, Needs
from profiles.totals import Block, Picked, Reader

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = NDArray[Any]

LIFECYCLE_CODES = ["", *LIFECYCLES]
RFM_NAMES = ["", *RFM_SEGMENTS]
WARNING_CODES = ["", *LOSS_WARNINGS]
SCORES = ("recency_score", "frequency_score", "monetary_score", "alive_percent")
EXPECTED = ("expected_purchases", "expected_amount")
OF_SCORES = {*SCORES, *EXPECTED, "rfm_segment", "loss_warning"}
OF_CUSTOMERS = {"lifecycle", "gender", "type", "created_day"}
OF_FOLLOWS = ("add_way", "follow_state", "followed_by", "department")
# What is not in profiles.totals, by its key or by the part of it before the colon.
BEYOND_TOTALS = OF_SCORES | OF_CUSTOMERS | {"profile", "home", "segment", *OF_FOLLOWS}
NOTHING = -(2**62)

READ_CUSTOMERS = """
SELECT c.customer_id, COALESCE(array_position(%(lifecycles)s::text[], c.lifecycle), 1), c.gender::int, c.type::int,
    c.created_at
FROM customers_@ c WHERE {c}
"""
CUSTOMERS_LAYOUT = {
    "customer_id": "bigint", "lifecycle": "int", "gender": "int", "type": "int", "created_at": "time",
}  # fmt: skip
READ_SCORES = f"""
SELECT s.customer_id, {", ".join(f"COALESCE(s.{name}::bigint, {NOTHING})" for name in SCORES)},
    {", ".join(f"COALESCE((s.{name} * 100)::bigint, {NOTHING})" for name in EXPECTED)},
    COALESCE(array_position(%(rfm)s::text[], s.rfm_segment), 1),
    COALESCE(array_position(%(warnings)s::text[], s.loss_warning), 1)
FROM customer_scores_@ s WHERE {{s}}
"""  # noqa: S608 - made of constants
SCORES_LAYOUT = {
    "customer_id": "bigint", **dict.fromkeys((*SCORES, *EXPECTED), "bigint"), "rfm_segment": "int",
    "loss_warning": "int",
}  # fmt: skip
# A member of staff is looked up by hash, however many a department has.
READ_FOLLOWS = """
SELECT f.customer_id, COALESCE(array_position(%(add_ways)s::int[], f.add_way), 0),
    COALESCE(array_position(%(states)s::text[], f.state), 0), COALESCE(u.place, 0)::int
FROM follows_@ f
LEFT JOIN unnest(%(userids)s::text[]) WITH ORDINALITY AS u (userid, place) ON u.userid = f.userid
WHERE {f} AND f.lost_at IS NULL
"""
FOLLOWS_LAYOUT = {"customer_id": "bigint", "add_way": "int", "state": "int", "staff": "int"}
READ_MEMBERS = """
SELECT m.customer_id, u.place::int
FROM segment_members_@ m
JOIN unnest(%(segments)s::bigint[]) WITH ORDINALITY AS u (segment_id, place) ON u.segment_id = m.segment_id
WHERE {m}
"""


def is_beyond_totals(key: str) -> bool:
    """Tell whether a column of facts is read here and not by profiles.totals.

    >>> is_beyond_totals("department:7"), is_beyond_totals("tag:7"), is_beyond_totals("gender")
    (True, False, True)
    """
    return key.partition(":")[0] in BEYOND_TOTALS


class FactReader:
    """Reads the customers of one bucket block by block, with all facts that are needed.

    Database: as totals.Reader, and up to three COPYs more for a block. Raises HomeUnavailableError.
    """

    def __init__(self, home: int, bucket: int, as_of: date, needs: Needs) -> None:
        self.home, self.bucket = home, bucket
        self.needed = {key for key in needs.columns if is_beyond_totals(key)}
        self.reader = Reader(home, bucket, as_of, Needs(needs.columns - self.needed), only_due=False, due=False)

    def count(self) -> int:
        """Return how many customers there are."""
        return self.reader.count()

    def pick(self, after: int, size: int) -> Picked | None:
        """Return who the next block is to consist of; None when nobody is left."""
        return self.reader.pick(after, size)

    def read_picked(self, picked: Picked) -> Block:
        """Return those of the customers picked who are still there."""
        block = self.reader.read_picked(picked)
        if "profile" in self.needed:
            block.facts["profile"] = _texts(["", *block.names], block.column["profile"])
        if "home" in self.needed:
            block.facts["home"] = _texts([str(self.home)], block.column["customer_id"] * 0)
        if self.needed & OF_CUSTOMERS:
            self._add_customers(picked, block)
        if self.needed & OF_SCORES:
            self._add_scores(picked, block)
        if any(key.partition(":")[0] in OF_FOLLOWS for key in self.needed):
            self._add_follows(picked, block)
        if segments := sorted(_values(self.needed, "segment")):
            self._add_members(picked, block, segments)
        return block

    def _read(self, select: str, picked: Picked, layout: Mapping[str, str], **params: Any) -> "dict[str, Column]":
        return columns.read(self.home, columns.on_leaves(select, self.bucket), picked.params | params, layout)

    def _add_customers(self, picked: Picked, block: Block) -> None:
        select = READ_CUSTOMERS.format(c=picked.where("c"))
        found = self._read(select, picked, CUSTOMERS_LAYOUT, lifecycles=LIFECYCLE_CODES)
        facts, ids = block.facts, found["customer_id"]
        facts["lifecycle"] = _texts(LIFECYCLE_CODES, spread(block, ids, found["lifecycle"], 1) - 1)
        facts["gender"] = _numbers_as_texts(spread(block, ids, found["gender"], 0))
        facts["type"] = _numbers_as_texts(spread(block, ids, found["type"], 0))
        created = spread(block, ids, found["created_at"], columns.NO_TIME)
        facts["created_day"] = columns.as_local_days(created, day_zone().key)

    def _add_scores(self, picked: Picked, block: Block) -> None:
        select = READ_SCORES.format(s=picked.where("s"))
        found = self._read(select, picked, SCORES_LAYOUT, rfm=RFM_NAMES, warnings=WARNING_CODES)
        facts, ids = block.facts, found["customer_id"]
        for name in (*SCORES, *EXPECTED):  # those with decimals in hundredths, as blocks keep them
            facts[name] = _or_nan(spread(block, ids, found[name], NOTHING))
        facts["rfm_segment"] = _texts(RFM_NAMES, spread(block, ids, found["rfm_segment"], 1) - 1)
        facts["loss_warning"] = _texts(WARNING_CODES, spread(block, ids, found["loss_warning"], 1) - 1)

    def _add_follows(self, picked: Picked, block: Block) -> None:
        import numpy as np

        asked = {name: sorted(_values(self.needed, name)) for name in OF_FOLLOWS}
        within = {department: staff_of(int(department)) for department in asked["department"]}
        userids = sorted(set(asked["followed_by"]).union(*within.values()))
        # A number that no add_way can be is nobody's.
        add_ways = [int(way) if int(way) < 2**31 else -1 for way in asked["add_way"]]
        found = self._read(
            READ_FOLLOWS.format(f=picked.where("f")), picked, FOLLOWS_LAYOUT,
            add_ways=add_ways, states=asked["follow_state"], userids=userids,
        )  # fmt: skip
        ids, facts = found["customer_id"], block.facts
        for name, column in (("add_way", "add_way"), ("follow_state", "state")):
            for place, value in enumerate(asked[name], start=1):
                facts[f"{name}:{value}"] = _flags(block, ids[found[column] == place], np)
        places = {userid: place for place, userid in enumerate(userids, start=1)}
        for userid in asked["followed_by"]:
            facts[f"followed_by:{userid}"] = _flags(block, ids[found["staff"] == places[userid]], np)
        for department, staff in within.items():
            those = np.isin(found["staff"], [places[userid] for userid in staff])
            facts[f"department:{department}"] = _flags(block, ids[those], np)

    def _add_members(self, picked: Picked, block: Block, segments: list[str]) -> None:
        import numpy as np

        # A number that no segment can have is nobody's.
        wanted = [int(one) if int(one) < 2**63 else -1 for one in segments]
        layout = {"customer_id": "bigint", "place": "int"}
        found = self._read(READ_MEMBERS.format(m=picked.where("m")), picked, layout, segments=wanted)
        for place, segment in enumerate(segments, start=1):
            block.facts[f"segment:{segment}"] = _flags(block, found["customer_id"][found["place"] == place], np)


def staff_of(department: int) -> frozenset[str]:
    """Return the userids of the members of a department and of all below it. Database: none, but for what is held."""
    company = organisation()
    return company.staff_within(company.subtree([department]))


def spread(block: Block, ids: "Column", values: "Column", nothing: int) -> "Column":
    """Return a column of the block with the values of some customers; who is not in the block is left out."""
    import numpy as np

    found = np.full(len(block), nothing, dtype=np.int64)
    place = np.searchsorted(block.column["customer_id"], ids)
    there = place < len(block)
    there[there] = block.column["customer_id"][place[there]] == ids[there]
    found[place[there]] = values[there]
    return found


def _flags(block: Block, ids: "Column", np: Any) -> "Column":
    return spread(block, ids, np.ones_like(ids), 0).astype(bool)


def _texts(texts: list[str], places: "Column") -> "Column":
    import numpy as np

    return np.array(texts, dtype=object)[places]


def _numbers_as_texts(numbers: "Column") -> "Column":
    import numpy as np

    known, places = np.unique(numbers, return_inverse=True)
    return _texts([str(number) for number in known.tolist()], places)


def _or_nan(numbers: "Column") -> "Column":
    import numpy as np

    return np.where(numbers == NOTHING, np.nan, numbers.astype(np.float64))


def _values(needed: Iterable[str], name: str) -> set[str]:
    return {key.removeprefix(f"{name}:") for key in needed if key.startswith(f"{name}:")}
