"""A department database that goes away under traffic and comes back: its cached customers are shown all the time."""

import time

import pytest

from customers.lookup import CACHE
from tests.faults.stage import Stage, until
from tests.faults.test_traffic import FAULT_SECONDS
from tests.servers import PrivatePostgres


@pytest.mark.slow
def test_department_database_that_is_restarted(fragile_department: PrivatePostgres, stage: Stage) -> None:
    stage.make("cached", "cold", "written", home=101)
    stage.make("elsewhere", home=100)
    stage.start_writers(["written", "elsewhere"])
    stage.start_readers(stage.keys)
    stage.wait_for_all()
    until(lambda: stage.redis.exists(CACHE.value_key("cached")))
    fragile_department.stop()
    stage.redis.delete(CACHE.value_key("cold"))
    down = time.monotonic()
    stage.go_on(FAULT_SECONDS)
    up = time.monotonic()
    fragile_department.start()
    until(lambda: {"cold", "written"} <= {read.key for read in stage.seen().reads if read.began > up})
    until(lambda: {"written"} <= {write.key for write in stage.seen().answered if write.began > up})
    stage.reconnect()
    history = stage.stop()
    print(f"\n{history.summary()}")
    assert history.find_faults() == []
    stage.check_cached()

    failed = {key for key, _, _ in history.failed}
    assert "cold" in failed
    assert failed <= {"cold", "written"}
    meanwhile = [read for read in history.reads if down < read.began and read.ended < up]
    assert "cold" not in {read.key for read in meanwhile}
    assert {read.source for read in meanwhile if read.key == "cached"} == {"hit"}
    assert {"elsewhere"} <= {write.key for write in history.answered if down < write.began and write.began < up}
