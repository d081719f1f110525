"""Next best actions: whom to suggest what for, why, and what became of it.

scoring.py      score and feedback, pure
wording.py      reasons with a customer's numbers, pure
affinities.py   items that go together: pure merge, computed per home between the phases of a run
part.py         phase 3 of a run: what a block of customers is suggested
deciding.py     accept, dismiss, undo
listing.py      open suggestions across homes, of one customer
views.py        the API
"""
