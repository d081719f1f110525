"""A small burst on the product's own processes: what the benchmark does with 5 000, without asking for speed."""

from pathlib import Path

import pytest

from benchmarks import burst
from tests.servers import PrivatePostgres
from wxwork.models import Callback


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_burst_with_a_killed_worker_and_a_department_down_is_applied_once(
    fragile_department: PrivatePostgres, process_environ: dict[str, str], broker_client: object, tmp_path: Path
) -> None:
    wanted = burst.Burst(
        callbacks=160, seconds=8, customers=60, duplicate=0.2, reorder=0.1, kills=1, department_down_seconds=4, seed=5
    )
    outcome = burst.run(wanted, process_environ, tmp_path, fragile_department.stop, fragile_department.start)
    assert outcome.disagreements == []
    assert set(outcome.pushes["outcomes"]) == {"delivered"}
    assert outcome.pushes["outcomes"]["delivered"] > wanted.callbacks  # some came twice
    assert set(outcome.states) == {"done"}
    # A deletion that leaves nothing to tell of has no callback; every other change has one, however often it came.
    assert Callback.objects.count() == outcome.states["done"] <= wanted.callbacks
    assert Callback.objects.count() > 0.9 * wanted.callbacks
