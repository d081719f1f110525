"""What the home page draws, from kept figures: charts as Chart.js wants them, and tables that are heat maps. Pure.

Colours are numbers of the style sheet's hues, or of a heat from 0 to 100.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from profiles.figures.summing import Cohort, Point, Rfm, Value

TICKS = "#9ca3af"
# A trend with more bands says nothing: the smallest classes go together.
MAX_BANDS = 8
OTHERS = "其他画像"
UNCLASSIFIED = "未分类"
COHORTS = 12
MATRIX_CLASSES = 8


def colour(hue: int | str) -> str:
    return f"var(--scrm-hue-{hue})"


def axis(*, stacked: bool = False, grid: bool = False, **ticks: Any) -> dict[str, Any]:
    return {
        "stacked": stacked,
        "border": {"display": False},
        "ticks": {"color": TICKS, "precision": 0, **ticks},
        "grid": {} if grid else {"display": False},
    }


def options(x: dict[str, Any], y: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "animation": False,
        "responsive": True,
        "maintainAspectRatio": False,
        "plugins": {"legend": {"display": False}},
        "scales": {"x": x, "y": y},
        **more,
    }


BARS_ACROSS = options(
    axis(stacked=True, grid=True, maxTicksLimit=6),
    axis(stacked=True),
    indexAxis="y",
    interaction={"mode": "nearest", "axis": "y", "intersect": False},
)
BARS_UP = options(axis(), axis(grid=True, maxTicksLimit=5))
AREAS = options(
    axis(maxTicksLimit=7, maxRotation=0),
    axis(stacked=True, grid=True, maxTicksLimit=5) | {"min": 0},
    interaction={"mode": "index", "intersect": False},
    elements={"point": {"radius": 0, "hitRadius": 8}},
)


# -------------------------------------------------------------------------------------------------------------- trends
def change(now: int | float, before: int | float | None) -> dict[str, Any] | None:
    """Return how a figure has changed, None if there was none before.

    >>> change(12, 10), change(5, 5)["text"], change(3, None)
    ({'text': '+2', 'way': 'up'}, '持平', None)
    """
    if before is None:
        return None
    difference = now - before
    if not difference:
        return {"text": "持平", "way": "flat"}
    return {"text": f"{difference:+,.0f}", "way": "up" if difference > 0 else "down"}


def bands(points: Sequence[Point]) -> list[str]:
    """Return the classes that a trend shows by themselves, the largest of the last day first."""
    sums: dict[str, int] = {}
    for point in points:
        for name, customers in point.values.items():
            sums[name] = max(sums.get(name, 0), customers)
    last = points[-1].values if points else {}
    names = sorted((name for name in sums if name), key=lambda name: (-last.get(name, 0), -sums[name], name))
    return names[: MAX_BANDS - 1] if len(names) > MAX_BANDS else names


def areas(points: Sequence[Point], hues: Mapping[str, int]) -> dict[str, Any]:
    """Return a stacked area chart of classes, a label for each calendar day.

    A day without a run has the counts of the last one, as everybody was told then: the steps show it.
    """
    if not points:
        return {"labels": [], "datasets": []}
    days = [points[0].day + timedelta(days=n) for n in range((points[-1].day - points[0].day).days + 1)]
    held = {point.day: point.values for point in points}
    values, last = [], points[0].values
    for day in days:
        last = held.get(day, last)
        values.append(last)
    shown = bands(points)
    sets = [area(name, colour(hues[name]), [one.get(name, 0) for one in values]) for name in shown]
    rest = [sum(n for name, n in one.items() if name and name not in shown) for one in values]
    if any(rest):
        sets.append(area(OTHERS, colour(9), rest))
    nobody = [one.get("", 0) for one in values]
    if any(nobody):
        sets.append(area(UNCLASSIFIED, colour("none"), nobody))
    for n, one in enumerate(sets):
        one["fill"] = "-1" if n else "origin"
        one["stepped"] = len(days) > len(points)
    return {"labels": [short(day) for day in days], "datasets": sets}


def area(label: str, hue: str, data: list[int]) -> dict[str, Any]:
    return {"label": label, "data": data, "backgroundColor": hue, "borderColor": "var(--scrm-card)", "borderWidth": 1}


def short(day: date) -> str:
    """
    >>> short(date(2026, 1, 9))
    '01-09'
    """
    return f"{day:%m-%d}"


# ----------------------------------------------------------------------------------------------------------- heat maps
@dataclass(frozen=True)
class Heat:
    """A cell: what it says, how hot it is (0 to 100), and a word on it."""

    text: str
    heat: int
    title: str = ""
    is_open: bool = False

    @property
    def is_dark(self) -> bool:
        """Whether it wants white letters."""
        return self.heat >= 55


def rfm_rows(rfm: Rfm) -> list[tuple[int, list[Heat]]]:
    """Return (R, cells by F from 1 to 5), R from 5 down. Heat grows with the root, or the many would hide the few."""
    most = max((cell.customers for cell in rfm.grid.values()), default=0)
    rows = []
    for r in range(5, 0, -1):
        cells = []
        for f in range(1, 6):
            cell = rfm.grid[r, f]
            heat = round(100 * (cell.customers / most) ** 0.5) if most else 0
            title = f"R={r}，F={f}：{cell.customers:,} 位"
            if cell.customers:
                title += f"，M 均分 {cell.mean_monetary}，累计 ¥{cell.amount:,.0f}"
            cells.append(Heat(f"{cell.customers:,}" if cell.customers else "", heat, title))
        rows.append((r, cells))
    return rows


@dataclass(frozen=True)
class CohortRow:
    month: str
    customers: int
    cells: list[Heat]
    rest: int


def cohort_rows(cohorts: Sequence[Cohort], *, limit: int = COHORTS) -> list[CohortRow]:
    """Return the last cohorts, each with the share that bought in each month after the first.

    The month that is going on is marked: it will still grow. Heat is scaled to the best month there is. rest: how many
    months less than the oldest cohort one has.
    """
    shown = cohorts[-limit:]
    best = max((share for one in shown for share in one.retention[1:]), default=0.0)
    rows = []
    for one in shown:
        cells = []
        for n, (customers, share) in enumerate(zip(one.active, one.retention, strict=True)):
            if n:
                text = f"{100 * share:.0f}%" if customers else "0"
                heat = round(100 * share / best) if best else 0
                title = f"{one.month} 首购的客户，{n} 个月后有 {customers:,} 位再次购买"
                cells.append(Heat(text, heat, title, is_open=n == len(one.active) - 1))
        rows.append(CohortRow(one.month, one.customers, cells, len(shown[0].active) - len(one.active)))
    return rows


@dataclass(frozen=True)
class Matrix:
    """Moves between classes: columns are the classes moved to. left_out: customers of moves that found no room."""

    columns: list[str]
    rows: list[tuple[str | None, list[Heat]]]
    total: int
    left_out: int


def matrix(moves: Sequence[tuple[str | None, str, int]]) -> Matrix:
    """Return moves as a table of the classes that most customers left or joined.

    >>> found = matrix([(None, "甲", 5), ("甲", "乙", 2)])
    >>> found.columns, [(name, [cell.text for cell in cells]) for name, cells in found.rows], found.total
    (['甲', '乙'], [(None, ['5', '']), ('甲', ['', '2'])], 7)
    """
    left: dict[str | None, int] = {}
    joined: dict[str, int] = {}
    for before, after, customers in moves:
        left[before] = left.get(before, 0) + customers
        joined[after] = joined.get(after, 0) + customers
    rows = sorted(left, key=lambda name: (name is not None, -left[name], name or ""))[:MATRIX_CLASSES]
    columns = sorted(joined, key=lambda name: (-joined[name], name))[:MATRIX_CLASSES]
    counts = {(before, after): customers for before, after, customers in moves}
    most = max(counts.values(), default=0)
    total = sum(counts.values())
    shown = 0
    found = []
    for before in rows:
        cells = []
        for after in columns:
            customers = counts.get((before, after), 0)
            shown += customers
            heat = round(100 * (customers / most) ** 0.5) if most else 0
            title = f"{before or UNCLASSIFIED} → {after}：{customers:,} 位" if customers else ""
            cells.append(Heat(f"{customers:,}" if customers else "", heat, title))
        found.append((before, cells))
    return Matrix(columns, found, total, total - shown)


# --------------------------------------------------------------------------------------------------------------- value
def value_bars(value: Value) -> dict[str, Any]:
    """Return how many buyers are expected to spend how much, as bars."""
    return {
        "labels": [bin_label(low, high) for low, high, _, _ in value.bins],
        "datasets": [bar("客户", colour(0), [customers for _, _, customers, _ in value.bins], width=48)],
    }


def bin_label(low: int, high: int | None) -> str:
    """
    >>> bin_label(0, 10), bin_label(200, 500), bin_label(5_000, 10_000), bin_label(10_000, None)
    ('<10', '200–500', '5千–1万', '≥1万')
    """
    if not low:
        return f"<{high}"
    return f"≥{brief(low)}" if high is None else f"{brief(low)}–{brief(high)}"


def brief(number: int) -> str:
    if number >= 10_000:
        return f"{number / 10_000:g}万"
    return f"{number / 1_000:g}千" if number >= 1_000 else str(number)


def yuan(amount: Any) -> str:
    """Show an amount as large as it is.

    >>> yuan(980), yuan(123_456), yuan(234_500_000)
    ('¥980', '¥12.3万', '¥2.35亿')
    """
    number = float(amount)
    if number >= 1e8:
        return f"¥{number / 1e8:.2f}亿"
    return f"¥{number / 1e4:.1f}万" if number >= 1e4 else f"¥{number:,.0f}"


def bar(label: str, hue: str, data: list[int], *, width: int = 26) -> dict[str, Any]:
    return {"label": label, "backgroundColor": hue, "data": data, "maxBarThickness": width, "borderRadius": 3}
