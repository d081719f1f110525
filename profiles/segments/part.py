"""Segments in phase 3 of a run: see profiles.acting for the loop."""

from profiles.models import ProfileRun


class SegmentPart:
    """Judges and writes who is in which dynamic segment. Without segments in use it is not active."""

    is_active = False

    def __init__(self, run: ProfileRun, home: int, bucket: int) -> None:
        self.run, self.home, self.bucket = run, home, bucket
