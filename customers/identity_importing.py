"""Turn rows of a CSV file into claims of identities.

column            a cell
external_userid   a customer who is there: nobody is created
kind              see customers.identity_kinds
value             in clear
"""

from collections import Counter
from collections.abc import Sequence

from customers.claiming import take_identities
from customers.identities import IMPORT
from customers.imports import Columns, CsvRow, Taken

COLUMNS = Columns(required=("external_userid", "kind", "value"))


def take_claims(rows: Sequence[CsvRow]) -> Taken:
    """Claim what a chunk of rows says. Repeatable. See claiming.take_identities for databases and cost."""
    done = take_identities([{name: row.values[name] for name in COLUMNS.required} for row in rows], owner=IMPORT)
    taken = Taken(Counter(accepted=done.accepted, duplicates=done.duplicates))
    taken.refused = [(rows[one.index], one.code, one.message) for one in done.rejected]
    return taken
