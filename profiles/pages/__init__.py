"""The admin's pages of profiles.

sections.py   what a customer's page shows of them: class and why, behaviours
rules.py      forms of rules, in their text
runs.py       runs with their progress, and the start of one
worth.py      value: of everybody on a run's page, of a customer on theirs
"""
