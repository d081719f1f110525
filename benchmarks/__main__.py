"""`make bench`: measure, print, and keep the ratios in benchmarks/RESULTS.md.

python -m benchmarks                         everything, 1 M customers
python -m benchmarks night --customers 100000
python -m benchmarks lookups --no-write
"""

import argparse
import importlib

from benchmarks.ground import RESULTS, Results, servers

PARTS = {
    "night": "The night",
    "lookups": "Lookups",
    "ingest": "Behaviours in",
    "callbacks": "Callbacks",
    "sync": "Sync with WeCom",
}
HEADER = """# Benchmarks

Written by `make bench`. Ratios within one run; absolute figures are those of the machine it ran on.

"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="which; all of them by default")
    parser.add_argument("--customers", type=int, default=1_000_000, help="of the night")
    parser.add_argument("--no-write", action="store_true", help="leave benchmarks/RESULTS.md alone")
    options = parser.parse_args()
    sections = []
    with servers():
        for part in options.parts or PARTS:
            print(f"{PARTS[part]}", flush=True)
            results = Results()
            importlib.import_module(f"benchmarks.{part}").measure(results, options.customers)
            sections.append(results.markdown(PARTS[part]))
    if not options.no_write:
        RESULTS.write_text(HEADER + "\n".join(sections) + "\n")
        print(f"written to {RESULTS}")


if __name__ == "__main__":
    main()
