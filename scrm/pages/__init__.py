"""The admin's pages that belong to no app of customers or profiles.

homes.py   department databases: how they are, and which take new customers
keys.py    API keys
"""
