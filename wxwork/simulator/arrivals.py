"""Life in the demo: every now and then somebody is added, edited, tagged, or lost."""

import contextlib
import threading
from random import Random

from wxwork.simulator.acts import ActError, perform
from wxwork.simulator.corp import Corp

# Of eight happenings, five are new customers.
HAPPENINGS = ["add", "add", "add", "add", "add", "edit", "tag", "lost"]


class Arrivals:
    """A thread that does one change each `seconds`, more or less, until it is stopped."""

    def __init__(self, corp: Corp, seconds: float, seed: int) -> None:
        self._corp = corp
        self._seconds = seconds
        self._random = Random(f"{seed}/arrivals/{corp.clock.seconds()}")
        self._stops = threading.Event()
        self._thread = threading.Thread(target=self._run, name="arrivals", daemon=True)
        self.happened = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stops.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stops.wait(self._seconds * self._random.uniform(0.5, 1.5)):
            kind = self._random.choice(HAPPENINGS)
            # Where nobody has 客户联系 any more, nothing happens until somebody has.
            with contextlib.suppress(ActError):
                perform(self._corp, "bulk", {"n": 1, "seed": self._random.randrange(2**31), "kinds": [kind]})
                self.happened += 1
