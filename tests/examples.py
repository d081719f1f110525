"""How many examples property tests try: few in each run of the suite, more where there is time.

`make test EXAMPLES=10` tries ten times as many everywhere. The numbers are such that a fault of the kind a test is for
is found at once; a search through the night finds the rare ones.
"""

import os


def examples(few: int) -> int:
    return few * int(os.environ.get("EXAMPLES", "1"))
