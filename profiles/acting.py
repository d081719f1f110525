"""Phase 3 of a run, over one bucket: who is in which segment, and what to do next about whom.

    for each block of customers, in one transaction on their home:
        lock the bucket's memberships        what is read from here on, nobody judges older
        read what all parts need             profiles.facts
        each part judges whole columns, and writes what differs
        the claim gets to the block's last customer

A part without anything in use costs nothing. Everybody is judged, not only who is dirty: windows move with the days,
and scores of the phase before may be anybody's. Cost: see docs/profiles.md.
"""

from collections.abc import Callable

from profiles import claims
from profiles.claims import Claim
from profiles.models import ProfileRun
from scrm import sharding


def act(claim: Claim, run: ProfileRun, on_progress: Callable[[], object]) -> None:
    """Do what is left of a claim's third phase."""
    with sharding.atomic_home(claim.home), sharding.cursor(claim.home) as cursor:
        claims.advance(cursor, claim, ends=True)
    on_progress()
