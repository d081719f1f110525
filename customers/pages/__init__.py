"""The admin's pages of customers. They are ours, on unfold's templates: a ModelAdmin could not query sharded tables.

access.py      who may see which, and who may do what
positions.py   where a list goes on, as text in a URL
listing.py     customers over all homes, and their export
person.py      one customer; sections.py: what other apps add to it
changes.py     notes, edits, mobiles in clear, moves, erasure
"""
