"""A worker process of the night's benchmark: does all claims of one home when it is told the run's number.

First all of their first phase; then, once somebody has made the fit, the others.
"""

import json
import sys
import time

import django

from benchmarks.ground import peak_memory_mib


def main(home: int) -> None:
    django.setup()
    import pandas  # noqa: F401 - as a worker has it after its first run

    from profiles import claims
    from profiles.models import ProfileRun
    from profiles.runs import work

    print("up", flush=True)
    run_id = int(sys.stdin.readline())
    classified = time.time()

    def note() -> None:
        nonlocal classified
        classified = time.time()

    for bucket in range(10):
        work(run_id, home, bucket, on_progress=note)
    # The run says that it is fitted a moment before its claims are opened.
    while ProfileRun.objects.filter(pk=run_id, state="running").exists():
        views = claims.views(run_id, home)
        if all(view.is_over for view in views):
            break
        if not any(view.is_free and work(run_id, home, view.bucket) for view in views):
            time.sleep(0.02)
    print(json.dumps({"classified": classified, "memory": peak_memory_mib()}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
