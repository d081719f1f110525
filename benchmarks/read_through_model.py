"""Explore every interleaving of the read-through protocol (docs/read-through.md) with the faults it must stand.

    python benchmarks/read_through_model.py          half a minute; the tests explore a smaller world in two seconds
    python benchmarks/read_through_model.py large    with one more reader: some minutes and gigabytes

One key, seen by some writers and readers. Whoever can move next, moves in every possible order, breadth first, so that
a fault comes with one of the shortest ways to it.

    stored     the newest committed version; 0: no such thing
    cached     what Redis holds: a version, 0 for a negative entry, None for nothing
    lease      who holds the guard: a reader's number, or LOST for one that nobody will ever use
    floor      the least that a read may return that begins now
    owed       versions whose writer could not tell Redis and wrote that down in its transaction

Faults: a writer or a reader dies at any step; a lease runs out; Redis loses a value, a lease or everything; it is out
of reach for a while, for all or for one writer, keeps what it has, and carries out a fill that was sent before.

Promised, and checked in every state:
    a read returns no less than the floor of the moment it began
    once all is quiet, Redis holds nothing, or what is stored, or hides a creation for the life of a negative entry only
The floor rises when a write is answered, but for one that is owed: then when the keeper has deleted what it owes.
"""

import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

LOST = -1


class Writer(NamedTuple):
    """begin, locked, told or owing, committed, answered; or dead."""

    at: str = "begin"
    version: int = 0
    is_owing: bool = False


class Reader(NamedTuple):
    """begin, missed, leased, loaded, returned; sent: returned, with its fill still under way; or dead."""

    at: str = "begin"
    value: int = 0
    floor: int = 0


class World(NamedTuple):
    """A state. faults: how many times something may still go wrong with Redis or a process."""

    stored: int
    faults: int
    writers: tuple[Writer, ...]
    readers: tuple[Reader, ...]
    cached: int | None = None
    lease: int | None = None
    locked_by: int | None = None
    floor: int = 0
    owed: tuple[int, ...] = ()
    is_reachable: bool = True
    keeper_saw: int = 0  # how many of the owed versions it read before it deleted; 0 while it sleeps


@dataclass(frozen=True)
class Protocol:
    """Each part can be left out, to see what it is there for."""

    skips_locked_rows: bool = True
    fills_by_lease: bool = True
    checks_whose_lease: bool = True
    drops_lease: bool = True
    drops_before_commit: bool = True
    drops_again_after_creating: bool = True
    records_what_it_cannot_drop: bool = True
    keeper_drops_leases: bool = True


@dataclass(frozen=True)
class Explored:
    """states: how many there are. fault: what went wrong, or None. way: the steps to it."""

    states: int
    fault: str | None = None
    way: tuple[str, ...] = ()


def explore(start: World, protocol: Protocol) -> Explored:
    """Walk through all states that can be reached, up to the first fault."""
    came_from: dict[World, tuple[World, str] | None] = {start: None}
    queue = deque([start])
    while queue:
        world = queue.popleft()
        for step, after in moves(world, protocol):
            if after in came_from:
                continue
            came_from[after] = (world, step)
            if fault := find_fault(after):
                return Explored(len(came_from), fault, _way(after, came_from))
            queue.append(after)
    return Explored(len(came_from))


def moves(world: World, protocol: Protocol) -> Iterator[tuple[str, World]]:
    """Give all that can happen next."""
    for number, writer in enumerate(world.writers):
        for step, after in _writer_moves(world, number, writer, protocol):
            yield f"writer {number} {step}", after
    for number, reader in enumerate(world.readers):
        for step, after in _reader_moves(world, number, reader, protocol):
            yield f"reader {number} {step}", after
    yield from _redis_moves(world)
    yield from _keeper_moves(world, protocol)


def _writer_moves(world: World, number: int, writer: Writer, protocol: Protocol) -> Iterator[tuple[str, World]]:
    def moved(writer: Writer, **changes: Any) -> World:
        return world._replace(writers=_with(world.writers, number, writer), **changes)

    dropped = {"cached": None, "lease": None if protocol.drops_lease else world.lease}
    if writer.at == "begin" and world.locked_by is None:
        # Held from here to the end of the transaction. Whoever inserts holds the key of what is not there yet.
        yield "locks the row", moved(Writer("locked", world.stored + 1), locked_by=number)
    if writer.at == "locked" and not protocol.drops_before_commit:
        yield "does not delete yet", moved(writer._replace(at="told"))
    elif writer.at == "locked":
        if world.is_reachable:
            yield "deletes value and lease", moved(writer._replace(at="told"), **dropped)
        # Its own breaker may be open while others reach Redis.
        if not world.is_reachable or world.faults:
            owing = writer._replace(at="told", is_owing=protocol.records_what_it_cannot_drop)
            yield "cannot delete and records it", moved(owing, faults=world.faults - world.is_reachable)
    if writer.at == "told":
        owed = (*world.owed, writer.version) if writer.is_owing else world.owed
        yield "commits", moved(writer._replace(at="committed"), stored=writer.version, locked_by=None, owed=owed)
    if writer.at == "committed":
        answered = writer._replace(at="answered")
        floor = world.floor if writer.is_owing else max(world.floor, writer.version)
        deletes_again = writer.version == 1 and protocol.drops_again_after_creating
        if protocol.drops_before_commit and not deletes_again:
            yield "answers", moved(answered, floor=floor)
        elif world.is_reachable:
            yield "deletes after its commit and answers", moved(answered, floor=floor, **dropped)
        elif protocol.records_what_it_cannot_drop:
            # In a transaction of its own, this time.
            owed = (*world.owed, writer.version)
            yield "records what it cannot delete, and answers", moved(answered._replace(is_owing=True), owed=owed)
        else:
            yield "answers", moved(answered, floor=floor)
    if world.faults and writer.at in ("locked", "told", "committed"):
        lock = None if world.locked_by == number else world.locked_by
        yield "dies", moved(Writer("dead"), locked_by=lock, faults=world.faults - 1)


def _reader_moves(world: World, number: int, reader: Reader, protocol: Protocol) -> Iterator[tuple[str, World]]:
    def moved(reader: Reader, **changes: Any) -> World:
        return world._replace(readers=_with(world.readers, number, reader), **changes)

    if reader.at == "begin":
        began = Reader("missed", 0, world.floor)
        if not world.is_reachable:
            yield "cannot ask and loads", moved(Reader("returned", world.stored, world.floor))
        elif world.cached is not None:
            yield "hits", moved(Reader("returned", world.cached, world.floor))
        else:
            yield "misses", moved(began)
    if reader.at == "missed":
        # Waiting is to stay here; whoever has waited long enough loads without filling.
        yield "loads without filling", moved(reader._replace(at="returned", value=world.stored))
        if world.is_reachable and world.cached is not None:
            yield "finds the value after waiting", moved(reader._replace(at="returned", value=world.cached))
        elif world.is_reachable and (world.lease is None or not protocol.fills_by_lease):
            yield "takes the lease", moved(reader._replace(at="leased"), lease=number)
    if reader.at == "leased":
        # An insert that is not committed shows no row, locked or not.
        is_in_flight = world.locked_by is not None and world.stored > 0 and protocol.skips_locked_rows
        if is_in_flight:
            released = None if world.lease == number and world.is_reachable else world.lease
            yield "loads from a locked row", moved(reader._replace(at="returned", value=world.stored), lease=released)
        else:
            yield "loads", moved(reader._replace(at="loaded", value=world.stored))
    if reader.at == "loaded" and not world.is_reachable:
        yield "sends a fill that is held up", moved(reader._replace(at="sent"))
    if reader.at in ("loaded", "sent") and world.is_reachable:
        if _may_fill(world, number, protocol):
            yield "fills", moved(reader._replace(at="returned"), cached=reader.value, lease=None)
        else:
            yield "is refused", moved(reader._replace(at="returned"))
    if world.faults and reader.at in ("leased", "loaded"):
        lease = LOST if world.lease == number else world.lease
        yield "dies", moved(Reader("dead"), lease=lease, faults=world.faults - 1)


def _may_fill(world: World, number: int, protocol: Protocol) -> bool:
    if not protocol.fills_by_lease:
        return True
    return world.lease == number if protocol.checks_whose_lease else world.lease is not None


def _redis_moves(world: World) -> Iterator[tuple[str, World]]:
    if world.cached == 0:
        yield "the negative entry runs out", world._replace(cached=None)
    if world.lease is not None:
        yield "the lease runs out", world._replace(lease=None)
    if not world.is_reachable:
        yield "Redis is back as it was", world._replace(is_reachable=True)
        yield "Redis is back, empty", world._replace(is_reachable=True, cached=None, lease=None)
    elif world.faults:
        less = world._replace(faults=world.faults - 1)
        yield "Redis is out of reach", less._replace(is_reachable=False)
        if world.cached is not None:
            yield "Redis loses the value", less._replace(cached=None)
            yield "Redis loses everything", less._replace(cached=None, lease=None)


def _keeper_moves(world: World, protocol: Protocol) -> Iterator[tuple[str, World]]:
    if world.owed and world.is_reachable and not world.keeper_saw:
        lease = None if protocol.keeper_drops_leases else world.lease
        yield "the keeper deletes", world._replace(cached=None, lease=lease, keeper_saw=len(world.owed))
    if world.keeper_saw:
        settled, left = world.owed[: world.keeper_saw], world.owed[world.keeper_saw :]
        yield (
            "the keeper is done",
            world._replace(owed=left, keeper_saw=0, floor=max(world.floor, *settled)),
        )


def find_fault(world: World) -> str | None:
    """Return which promise is broken here, if any."""
    if any(reader.at in ("returned", "sent") and reader.value < reader.floor for reader in world.readers):
        return "a read returned less than had been answered before it began"
    if not _is_quiet(world) or world.cached in (None, world.stored):
        return None
    if world.cached:
        return "all is quiet and what is cached is old"
    # A creator that died answered nobody, and its negative entry lives ten seconds.
    has_answered = any(writer.at == "answered" for writer in world.writers)
    return "an answered creation is hidden by a negative entry" if has_answered else None


def _is_quiet(world: World) -> bool:
    return (
        world.lease is None
        and not world.owed
        and world.is_reachable
        and all(writer.at in ("answered", "dead") for writer in world.writers)
        and all(reader.at in ("returned", "dead") for reader in world.readers)
    )


def _with(actors: tuple, number: int, actor: object) -> tuple:
    return (*actors[:number], actor, *actors[number + 1 :])


def _way(world: World, came_from: dict[World, tuple[World, str] | None]) -> tuple[str, ...]:
    steps = []
    while (origin := came_from[world]) is not None:
        world, step = origin
        steps.append(step)
    return tuple(reversed(steps))


def world(*, stored: int, writers: int, readers: int, faults: int) -> World:
    """Return where it begins. stored: 0 to begin with nothing, so that the first writer creates."""
    return World(stored, faults, (Writer(),) * writers, (Reader(),) * readers, floor=stored)


# What each part is there for: without it, the search finds a way to break a promise.
WITHOUT = {
    "fills from a row that a writer holds": Protocol(skips_locked_rows=False),
    "fills without a lease": Protocol(fills_by_lease=False),
    "fills by anybody's lease": Protocol(checks_whose_lease=False),
    "deletes the value only": Protocol(drops_lease=False),
    "deletes after the commit only": Protocol(drops_before_commit=False),
    "does not delete again after creating": Protocol(drops_again_after_creating=False),
    "records nothing when Redis is out of reach": Protocol(records_what_it_cannot_drop=False),
    "has a keeper that deletes the value only": Protocol(keeper_drops_leases=False),
}


SIZES = ((1, 2, 2), (2, 2, 2), (1, 3, 2))
LARGE_SIZES = (*SIZES, (2, 3, 1))


def main(sizes: tuple[tuple[int, int, int], ...]) -> int:
    """Print what holds and what each missing part breaks.

    sizes: (writers, readers, faults) of the worlds to explore. Returns 1 if the protocol is broken, or has spare parts.
    """
    is_broken = False
    for writers, readers, faults in sizes:
        for begin, stored in (("an update", 1), ("a creation", 0)):
            found = explore(world(stored=stored, writers=writers, readers=readers, faults=faults), Protocol())
            is_broken |= found.fault is not None
            print(f"{begin}, {writers} writers, {readers} readers, {faults} faults: {found.states} states, ", end="")
            print(found.fault or "holds", *found.way, sep="\n    ", flush=True)
    for name, protocol in WITHOUT.items():
        print(f"\nA protocol that {name}:")
        found = find_counterexample(protocol)
        print(f"  {found.fault}" if found.fault else "  holds as well", *found.way, sep="\n    ")
        is_broken |= found.fault is None
    return int(is_broken)


def find_counterexample(protocol: Protocol) -> Explored:
    """Look for a way to break a promise, in small worlds first."""
    for writers, stored in product((1, 2), (1, 0)):
        found = explore(world(stored=stored, writers=writers, readers=2, faults=1), protocol)
        if found.fault:
            break
    return found


if __name__ == "__main__":
    sys.exit(main(LARGE_SIZES if sys.argv[1:] == ["large"] else SIZES))
