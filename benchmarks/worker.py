"""A worker process of the night's benchmark: does all claims of one home when it is told the run's number."""

import json
import sys

import django

from benchmarks.ground import peak_memory_mib


def main(home: int) -> None:
    django.setup()
    import pandas  # noqa: F401 - as a worker has it after its first run

    from profiles.runs import work

    print("up", flush=True)
    run_id = int(sys.stdin.readline())
    for bucket in range(10):
        work(run_id, home, bucket)
    print(json.dumps({"memory": peak_memory_mib()}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
