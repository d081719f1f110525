"""Next best actions in phase 3 of a run: see profiles.acting for the loop."""

from profiles.models import ProfileRun


class RecommendationPart:
    """Makes, refreshes and withdraws the suggestions of one bucket. Without rules in use it is not active."""

    is_active = False

    def __init__(self, run: ProfileRun, home: int, bucket: int) -> None:
        self.run, self.home, self.bucket = run, home, bucket
