"""The protocol holds in every order of events, and has no part that could be left out."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import read_through_model as model


@pytest.mark.parametrize("stored", [1, 0], ids=["update", "creation"])
def test_the_protocol_holds(stored: int) -> None:
    explored = model.explore(model.world(stored=stored, writers=1, readers=2, faults=2), model.Protocol())
    assert explored.fault is None, explored.way
    assert explored.states > 10_000


@pytest.mark.parametrize("name", model.WITHOUT)
def test_without_a_part_it_does_not(name: str) -> None:
    explored = model.find_counterexample(model.WITHOUT[name])
    assert explored.fault is not None
    assert explored.way[-1]


def test_two_writers_that_both_fail_to_reach_redis() -> None:
    explored = model.explore(model.world(stored=1, writers=2, readers=1, faults=2), model.Protocol())
    assert explored.fault is None, explored.way


def test_as_a_command_it_says_what_each_part_is_for() -> None:
    program = "import sys; from benchmarks import read_through_model as m; sys.exit(m.main(((1, 1, 1),)))"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert "an update, 1 writers, 1 readers, 1 faults: " in run.stdout
    assert "holds as well" not in run.stdout
    assert run.stdout.count("A protocol that") == len(model.WITHOUT)
