"""Print what inspection has found, as tables."""

from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from scrm.sharding.ids import BUCKETS
from scrm.sharding.inspection import HomeState, Inspection


def console(output: Any) -> Console:
    """Return a console on a command's output."""
    stream = getattr(output, "_out", output)
    return Console(file=stream, highlight=False)


def show(console: Console, found: Inspection) -> None:
    """Print the map, the row counts, and what is wrong."""
    _print(console, _map(found))
    if any(state.customers for state in found.homes):
        _print(console, _counts(found.homes))
    for state in (found.control, *found.homes):
        for problem in state.problems:
            console.print(f"[red]problem[/red] {state.alias} {problem}", soft_wrap=True)
        for remark in state.remarks:
            console.print(f"[yellow]remark[/yellow]  {state.alias} {remark}", soft_wrap=True)
    for home in found.unknown_homes:
        console.print(
            f"[yellow]remark[/yellow]  home {home} is registered, but DEPARTMENT_DATABASES does not name it here",
            soft_wrap=True,
        )


def _print(console: Console, table: Table) -> None:
    # A narrow terminal, or a file, wraps or runs on, which is better than cut numbers.
    needed = Measurement.get(console, console.options.update(max_width=1000), table).maximum
    Console(file=console.file, highlight=False, width=max(console.width, needed)).print(table, crop=False)


def _map(found: Inspection) -> Table:
    table = Table(title="Databases", title_justify="left")
    for heading in ("home", "server", "state", "migrations", "size"):
        table.add_column(heading, justify="right" if heading in {"home", "size"} else "left", overflow="fold")
    for state in (found.control, *found.homes):
        pending = f"{len(state.pending)} missing" if state.pending else "applied"
        table.add_row(
            str(state.home) if isinstance(state, HomeState) else "control",
            state.server,
            _state(state) if isinstance(state, HomeState) else ("ready" if state.is_reachable else "unreachable"),
            pending if state.is_reachable else "-",
            _size(state.size_bytes) if state.is_reachable else "-",
        )
    return table


def _state(state: HomeState) -> str:
    if not state.is_reachable:
        return "unreachable"
    return {True: "open", False: "closed", None: "not registered"}[state.is_open]


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1024**2:,.0f} MB"


def _counts(homes: list[HomeState]) -> Table:
    table = Table(title="Customers in customers_0 … customers_9", title_justify="left")
    for heading in ("home", *(f"_{bucket}" for bucket in range(BUCKETS)), "total", "directory", "drift"):
        table.add_column(heading, justify="right")
    for state in homes:
        if state.customers:
            table.add_row(
                str(state.home),
                *(f"{state.customers[bucket]:,}" for bucket in range(BUCKETS)),
                f"{state.total:,}",
                f"{state.directory.customers:,}" if state.directory else "-",
                f"{state.drift:+,}" if state.drift else "0",
            )
    return table
