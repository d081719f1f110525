"""What customers do: accepted once, kept raw, folded at once into their totals.

contents.py     what an item must look like (pure)
refunds.py      what a refund takes back of its purchase (pure)
recording.py    the directory, the department databases, one transaction each
"""

from profiles.behaviours.contents import REASONS, Rejection
from profiles.behaviours.recording import Recorded, record_behaviours

__all__ = ["REASONS", "Recorded", "Rejection", "record_behaviours"]
