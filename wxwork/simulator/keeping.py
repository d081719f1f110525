"""Keep a corp in a file, so that one that is started again goes on where it stood: a demo has yesterday's customers.

The file is a pickle that this program has written for itself: name none that comes from elsewhere.
"""

import pickle
import threading
from pathlib import Path

from wxwork.simulator.corp import Corp
from wxwork.simulator.state import State

EVERY_SECONDS = 15.0


def load(corp: Corp, path: Path) -> bool:
    """Take up the corp that a file keeps. Returns False, and leaves the corp new, if it keeps none of this company."""
    try:
        state = pickle.loads(path.read_bytes())  # noqa: S301 - our own
    except (OSError, pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, TypeError):
        return False
    if not isinstance(state, State) or state.company != corp.state.company:
        return False
    state.clock = corp.clock
    corp.state = state
    return True


def save(corp: Corp, path: Path) -> None:
    """Write the corp as it is now; a crash half way leaves the file as it was."""
    with corp.state.lock:
        kept = pickle.dumps(corp.state)
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.write_bytes(kept)
    unfinished.replace(path)


class Keeper:
    """A thread that writes the corp every 15 s until it is stopped, and once more then."""

    def __init__(self, corp: Corp, path: Path) -> None:
        self._corp = corp
        self._path = path
        self._stops = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeping", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stops.set()
        self._thread.join()
        save(self._corp, self._path)

    def _run(self) -> None:
        while not self._stops.wait(EVERY_SECONDS):
            save(self._corp, self._path)
