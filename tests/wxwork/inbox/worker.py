"""A worker of the inbox as a process of its own: `python -m tests.wxwork.inbox.worker`; works until it is told to stop.

It does what a Celery worker does between two messages, without a broker.
"""

import signal
import sys
import time

import django

stopping = False


def main() -> None:
    django.setup()
    from tests.wxwork.inbox import deeds  # noqa: F401 - registers the handler
    from wxwork.inbox import working

    def stop(*_args: object) -> None:
        global stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    print("ready", flush=True)
    while not stopping:
        done, _more = working.work(seconds=0.2)
        if not done:
            time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(main())
