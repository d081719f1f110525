"""A full sync out of nothing."""

from tests.wxwork.corp import ours, theirs
from tests.wxwork.sync.conftest import run_sync
from wxwork.simulator import SimulatorServer


def test_a_full_sync_ends_with_what_the_corp_has(simulator: SimulatorServer) -> None:
    run = run_sync()
    assert (run.state, run.error) == ("done", "")
    assert ours() == theirs(simulator)
    print(
        run.counts, run.calls_made, run.calls_expected, simulator.corp.calls if hasattr(simulator.corp, "calls") else ""
    )


def test_a_second_one_changes_nothing(synced: SimulatorServer) -> None:
    run = run_sync("reconcile")
    assert (run.state, run.error, run.drift) == ("done", "", {})
