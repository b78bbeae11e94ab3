"""The contract kit: signed scenarios against a partner's endpoint, and a report of how it did.

What is tried comes from the registry of operations and from the catalog row alone. A run touches no
merchant and no install: it asks in the name of a stand-in (`stand_in.py`). `runs.py` is the door.
"""
