"""Figures of dashboards: computed at the end of a run, kept per day, home and scope in the control database.

| kind      | data of one home and scope as of one day                                                |
|-----------|-----------------------------------------------------------------------------------------|
| classes   | {"classes": {class: customers}, "unclassified": n, "last_id": the newest customer's}    |
| lifecycle | {code: customers}                                                                       |
| loss      | {"high": customers, "medium": customers}                                                |
| segments  | {segment id: members}                                                                   |
| moves     | {run id: [[from class or null, to class, customers]]}, of each run of the day           |
| rfm       | {"cells": [[R, F, customers, sum of M, spent]], "segments": {name: [customers, spent]}} |
| value     | {"bins": [[place in EDGES, customers, expected]], "scored", "alive_sum", "purchases"}   |
| cohorts   | {"since": month, "cells": [[cohort, month, customers]], "checks": …}: see .cohorts      |
| actions   | {action: open recommendations}                                                          |
| scopes    | [scope that was computed]; of everybody only. See .keeping                              |

A scope is everybody, a department or several: `scopes` names them. Of departments classes have no last_id, and a kind
that counts nothing has no row. Amounts are decimal strings, months texts such as 2026-11. `computing` asks the
department databases, `departments` does for all scopes but everybody, `keeping` stores and finds in the control
database, `summing` adds homes up.
"""

from profiles.figures.computing import compute
from profiles.figures.keeping import thin

__all__ = ["compute", "thin"]
