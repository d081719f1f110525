"""Segments: saved filters over everything known of a customer, and lists that somebody keeps.

order.py        which segments to judge before which, pure
definitions.py  what is saved, and what of it can be judged now
writing.py      who enters and leaves, in one bucket of a home
part.py         phase 3 of a run: what a block of customers is in
refreshing.py   changed definitions without waiting for the night (single customers: profiles.looking)
members.py      who is in a segment: lists, static ones changed by hand, the door for later sending
preview.py      how many customers a filter would hold, while it is edited
views.py        the API
"""
