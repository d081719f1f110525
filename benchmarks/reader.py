"""One process of a crowd: `python -m benchmarks.reader THREADS NUMBER one PERSON | zipf READS WRITES S N`."""

import json
import random
import sys
import threading
from collections import Counter

import django


def main(threads: int, number: int, what: str, *arguments: str) -> None:
    django.setup()
    from django.db import connections

    from benchmarks import data, lookups
    from customers.directory import upsert
    from customers.lookup import CACHE
    from customers.records import CustomerData

    counts: Counter[str] = Counter()
    lock = threading.Lock()
    barrier = threading.Barrier(threads + 1)

    def read(person: str, mine: Counter[str]) -> None:
        source = CACHE.get(person).source
        mine["reads"] += 1
        if source in ("miss", "bypass"):
            mine["loads"] += 1
            connections.close_all()  # a thousand threads would else keep three thousand connections

    def reader(seed: int) -> None:
        mine: Counter[str] = Counter(reads=0, loads=0, writes=0)
        draw = random.Random(f"{data.SEED}/{number}/{seed}")
        barrier.wait()
        if what == "one":
            read(arguments[0], mine)
        else:
            for _ in range(reads):
                person = f"wmLOOKUP{order[draw.choices(ranks, cum_weights=cumulated)[0]]:06}"
                if draw.random() < write_share:
                    upsert(CustomerData(person, {"mobile": f"139{draw.randint(0, 99_999_999):08}"}))
                    mine["writes"] += 1
                    connections.close_all()
                else:
                    read(person, mine)
        with lock:
            counts.update(mine)

    if what == "zipf":
        reads, write_share, size = int(arguments[0]), float(arguments[1]), int(arguments[3])
        cumulated, order, ranks = lookups.weights(size, float(arguments[2])), lookups.popular(size), range(size)
    crowd = [threading.Thread(target=reader, args=(seed,)) for seed in range(threads)]
    for one in crowd:
        one.start()
    print("ready", flush=True)
    sys.stdin.readline()
    barrier.wait()
    for one in crowd:
        one.join()
    print(json.dumps(counts))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
