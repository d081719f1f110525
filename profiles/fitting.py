"""What all customers together say: thresholds of RFM and the parameters of the value model, once for each run.

Every home that can be reached is read, also when a run concerns only some: a customer is compared with everybody.
Homes are read side by side, block by block; what is kept of them are counts of equal rows:

    R, F, M                                     {value: buyers} each
    x, t_x, T          for BG/NBD               {row: customers}
    x, spent           for Gamma-Gamma          {row: customers}

t_x and T are whole days, T from the first purchase's day to as_of - 1. Where there are more than MAX_ROWS different
rows, half of the customers are left out of the count, picked by a hash of their ids, and half again, until they are few
enough: the same customers give the same fit, and memory has a bound.

For the holdout plot a model is fitted as of an earlier day, on all customers or on those of so many buckets that they
are some HOLDOUT_CUSTOMERS, and compared with what they did since.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import structlog

from profiles import buyers, columns, publishing, rfm
from profiles.buyers import Buyers
from profiles.models import ProfileRun
from profiles.rules.settings import HOME
from profiles.value import DAYS_PER_UNIT, HORIZON_DAYS, bgnbd, gamma_gamma, holdout
from profiles.value.maxima import REASONS, TOO_SMALL, NoModelError
from scrm import sharding
from scrm.sharding.ids import BUCKETS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = NDArray[Any]

logger = structlog.get_logger(__name__)

MAX_ROWS = 250_000
HOLDOUT_CUSTOMERS = 100_000
MIN_HOLDOUT_DAYS, MAX_HOLDOUT_DAYS = 14, 90
# Bits of a packed row, from its last column; the customer's level (see _levels) is the last of all.
LEVEL_BITS, DAY_BITS, TIMES_BITS, CENTS_BITS = 5, 18, 15, 42
HOLDOUT_BLOCK = 20_000

LATER = """
SELECT t.customer_id, count(*) FILTER (WHERE t.day < %(split)s), min(t.day),
    COALESCE(max(t.day) FILTER (WHERE t.day < %(split)s), '-infinity'), count(*) FILTER (WHERE t.day >= %(split)s)
FROM daily_totals_@ t
WHERE t.customer_id > %(after)s AND t.day < %(as_of)s AND t.purchase_count > 0
GROUP BY t.customer_id ORDER BY t.customer_id LIMIT %(size)s
"""
LATER_LAYOUT = {"customer_id": "bigint", "days": "bigint", "first": "int", "last": "int", "later": "bigint"}


@dataclass
class Fitted:
    """rfm, value_model: as they are kept on the run. without: homes that could not be asked."""

    rfm: dict[str, Any] | None = None
    value_model: dict[str, Any] | None = None
    without: list[int] = field(default_factory=list)


class Tally:
    """Counts of equal numbers, of which there may be very many: 12 bytes for each that is different."""

    def __init__(self) -> None:
        import numpy as np

        # Ascending, each once; and how often each was there.
        self.values, self.counts = np.empty(0, np.int64), np.empty(0, np.int32)

    def add(self, values: "Column") -> None:
        """Count some numbers."""
        import numpy as np

        self._add(*np.unique(values, return_counts=True))

    def merge(self, other: "Tally") -> None:
        """Count what another one has counted."""
        self._add(other.values, other.counts)

    def _add(self, values: "Column", counts: "Column") -> None:
        import numpy as np

        # Put in where they belong: sorting all anew would hold everything five times over for a moment.
        place = np.searchsorted(self.values, values)
        known = place < len(self.values)
        known[known] = self.values[place[known]] == values[known]
        self.counts[place[known]] += counts[known].astype(np.int32)
        self.values = np.insert(self.values, place[~known], values[~known])
        self.counts = np.insert(self.counts, place[~known], counts[~known])


class SampledTally(Tally):
    """A tally of rows that end in their customers' levels: those of the lowest levels go while there are too many.

    What stays hangs on who was counted, not on their order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lowest, self.of = 0, 0

    def add(self, values: "Column") -> None:
        self.of += len(values)
        super().add(values)

    def merge(self, other: Tally) -> None:
        assert isinstance(other, SampledTally)
        self.of += other.of
        self.lowest = max(self.lowest, other.lowest)
        super().merge(other)

    def _add(self, values: "Column", counts: "Column") -> None:
        super()._add(values, counts)
        while True:
            kept = (self.values & ((1 << LEVEL_BITS) - 1)) >= self.lowest
            if not kept.all():
                self.values, self.counts = self.values[kept], self.counts[kept]
            if len(self._firsts()) <= MAX_ROWS:
                return
            self.lowest += 1

    def _firsts(self) -> "Column":
        """Return the places where a row begins that differs from the one before in more than the level."""
        import numpy as np

        rows = self.values >> LEVEL_BITS
        return np.flatnonzero(np.diff(rows, prepend=-1))

    def rows(self, *bits: int) -> "tuple[list[Column], Column]":
        """Return the columns of the rows, first to last, and how many customers each stands for. bits: their widths."""
        import numpy as np

        firsts = self._firsts()
        n = np.add.reduceat(self.counts, firsts) if len(firsts) else self.counts
        return _unpacked(self.values[firsts] >> LEVEL_BITS, bits), n


@dataclass
class Gathered:
    """What is kept of the buyers of a home, or of all."""

    recency: Tally = field(default_factory=Tally)
    frequency: Tally = field(default_factory=Tally)
    monetary: Tally = field(default_factory=Tally)
    purchases: SampledTally = field(default_factory=SampledTally)
    spend: SampledTally = field(default_factory=SampledTally)
    # The longest T, 0 without anybody.
    longest: int = 0

    def add(self, block: Buyers, as_of: date) -> None:
        import numpy as np

        today = columns.day_number(as_of)
        bought = block.where(block.column["purchases"] > 0)
        self.recency.add(today - bought["last"])
        self.frequency.add(bought["purchases"])
        self.monetary.add(bought["amount"])
        column = block.column
        x, active = column["days"] - 1, column["last"] - column["first"]
        age = today - 1 - column["first"]
        self.longest = max(self.longest, int(age.max(initial=0)))
        levels = _levels(column["customer_id"])
        fits = (x < 1 << TIMES_BITS) & (age < 1 << DAY_BITS)
        self.purchases.add(_packed((x, TIMES_BITS), (active, DAY_BITS), (age, DAY_BITS), (levels, LEVEL_BITS))[fits])
        spent = column["repeat_amount"]
        spends = fits & (x > 0) & (spent > 0) & (spent < 1 << CENTS_BITS)
        if np.any(spends):
            self.spend.add(_packed((x, TIMES_BITS), (spent, CENTS_BITS), (levels, LEVEL_BITS))[spends])

    def merge(self, other: "Gathered") -> None:
        for name in ("recency", "frequency", "monetary", "purchases", "spend"):
            getattr(self, name).merge(getattr(other, name))
        self.longest = max(self.longest, other.longest)


def _packed(*parts: "tuple[Column, int]") -> "Column":
    packed, _ = parts[0]
    for values, bits in parts[1:]:
        packed = (packed << bits) | values
    return packed


def _unpacked(packed: "Column", bits: tuple[int, ...]) -> "list[Column]":
    found = []
    for width in reversed(bits):
        found.append(packed & ((1 << width) - 1))
        packed = packed >> width
    return found[::-1]


def _levels(customer_ids: "Column") -> "Column":
    """Return how many zeros a hash of each id ends with: half of all have 0, a quarter 1, and so on."""
    import numpy as np

    with np.errstate(over="ignore"):
        mixed = customer_ids.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    lowest_bit = mixed & (~mixed + np.uint64(1))
    levels = np.log2(np.maximum(lowest_bit, 1).astype(float)).astype(np.int64)
    return np.minimum(levels, (1 << LEVEL_BITS) - 1)


def fit(run: ProfileRun) -> Fitted:
    """Return the thresholds and the value model as of a run's day.

    Database: of each home, a COPY of some 60 bytes a buyer, and one of the days of HOLDOUT_CUSTOMERS in all.
    Memory: 12 bytes for each different amount that buyers have spent in all (M); the rest has a bound, some 40 MB.
    Homes that are down are left out.
    """
    answers = sharding.fan_out(lambda home: _gather(home, run.as_of))
    homes = sorted(answers.results)
    scope = publishing.rule_set_of(run.rule_version).settings.rfm_scope
    scores: dict[str, Any] = {"scope": scope}
    everybody = Gathered()
    for home in homes:
        found = answers.results.pop(home)  # what is merged is not held twice
        if scope == HOME:
            scores[str(home)] = _thresholds(found).to_json()
        everybody.merge(found)
        del found
    if scope != HOME:
        scores["company"] = _thresholds(everybody).to_json()
    return Fitted(scores, _fit_value(run.as_of, everybody, homes), answers.unavailable)


def _gather(home: int, as_of: date) -> Gathered:
    found = Gathered()
    for bucket in range(BUCKETS):
        for block in buyers.iter_blocks(home, bucket, as_of):
            found.add(block, as_of)
    return found


def _thresholds(found: Gathered) -> rfm.Thresholds:
    recency, frequency, monetary = found.recency, found.frequency, found.monetary
    return rfm.Thresholds(
        rfm.thresholds((recency.values, recency.counts), fewer_is_better=True),
        rfm.thresholds((frequency.values, frequency.counts)),
        rfm.thresholds((monetary.values, monetary.counts)),
        int(frequency.counts.sum()),
    )


def _fit_value(as_of: date, everybody: Gathered, homes: list[int]) -> dict[str, Any]:
    """Return the value model as JSON; see docs/profiles.md for its members."""
    (x, active, age), n = everybody.purchases.rows(TIMES_BITS, DAY_BITS, DAY_BITS)
    rows = bgnbd.Rows(x, active / DAYS_PER_UNIT, age / DAYS_PER_UNIT, n)
    model: dict[str, Any] = {
        "customers": everybody.purchases.of,
        "repeat_customers": int(n[x > 0].sum()) if everybody.purchases.lowest == 0 else None,
        "unit": "week",
        "horizon_days": HORIZON_DAYS,
        "sampled": int(n.sum()) if everybody.purchases.lowest else None,
    }
    try:
        found, log_likelihood = bgnbd.fit(rows)
    except NoModelError as error:
        return model | {"problem": error.code, "reason": str(error)}
    model |= {
        "r": found.r, "alpha": found.alpha, "a": found.a, "b": found.b, "log_likelihood": log_likelihood,
        "calibration": holdout.calibrate(found, rows),
    }  # fmt: skip
    model |= _fit_spend(everybody)
    model["holdout"] = _hold_out(as_of, everybody, homes)
    return model


def _fit_spend(everybody: Gathered) -> dict[str, Any]:
    (x, cents), n = everybody.spend.rows(TIMES_BITS, CENTS_BITS)
    sample = {
        "spenders": everybody.spend.of,
        "sampled_spenders": int(n.sum()) if everybody.spend.lowest else None,
    }
    try:
        found, log_likelihood = gamma_gamma.fit(gamma_gamma.Rows(x, cents / 100 / x, n))
    except NoModelError as error:
        return sample | {"spend_problem": error.code, "spend_reason": str(error)}
    return sample | {
        "p": found.p, "q": found.q, "gamma": found.gamma, "mean_spend": round(found.mean, 2),
        "spend_log_likelihood": log_likelihood,
    }  # fmt: skip


def _hold_out(as_of: date, everybody: Gathered, homes: list[int]) -> dict[str, Any]:
    days = min(MAX_HOLDOUT_DAYS, everybody.longest // 4)
    if days < MIN_HOLDOUT_DAYS:
        return {"problem": TOO_SMALL, "reason": "购买记录还太短，分不出验证期"}
    split = as_of - timedelta(days=days)
    share = -(-BUCKETS * HOLDOUT_CUSTOMERS // max(everybody.purchases.of, 1))
    picked = range(min(BUCKETS, share))
    tallies = sharding.fan_out(lambda home: _gather_holdout(home, picked, split, as_of), homes)
    tally = SampledTally()
    for _, found in sorted(tallies.results.items()):
        tally.merge(found)
    (x, active, age, later), n = tally.rows(TIMES_BITS, 16, 16, 10)
    rows = bgnbd.Rows(x, active / DAYS_PER_UNIT, age / DAYS_PER_UNIT, n)
    about = {"as_of": split.isoformat(), "days": days, "customers": int(n.sum()), "buckets": len(picked)}
    try:
        model, _ = bgnbd.fit(rows)
    except NoModelError as error:
        return about | {"problem": error.code, "reason": REASONS[error.code]}
    compared = holdout.compare(model, rows, later, days / DAYS_PER_UNIT)
    return about | {
        "r": model.r, "alpha": model.alpha, "a": model.a, "b": model.b,
        "actual": sum(round(row["actual"] * row["customers"]) for row in compared),
        "expected": round(sum(row["expected"] * row["customers"] for row in compared), 1),
        "rows": compared,
    }  # fmt: skip


def _gather_holdout(home: int, picked: range, split: date, as_of: date) -> SampledTally:
    tally = SampledTally()
    for bucket in picked:
        for found in _iter_later(home, bucket, split, as_of):
            found = {name: values[found["days"] > 0] for name, values in found.items()}
            x, active = found["days"] - 1, found["last"] - found["first"]
            age = columns.day_number(split) - 1 - found["first"]
            fits = (x < 1 << TIMES_BITS) & (age < 1 << 16) & (found["later"] < 1 << 10)
            levels = _levels(found["customer_id"])
            packed = _packed((x, TIMES_BITS), (active, 16), (age, 16), (found["later"], 10))
            tally.add(((packed << LEVEL_BITS) | levels)[fits])
    return tally


def _iter_later(home: int, bucket: int, split: date, as_of: date) -> "Iterator[dict[str, Column]]":
    after = 0
    while True:
        params = {"after": after, "split": split, "as_of": as_of, "size": HOLDOUT_BLOCK}
        found = columns.read(home, columns.on_leaves(LATER, bucket), params, LATER_LAYOUT)
        yield found
        if len(found["customer_id"]) < HOLDOUT_BLOCK:
            return
        after = int(found["customer_id"][-1])
