"""What must hold of lookups whatever breaks: real processes, a real PostgreSQL, a real Valkey, nothing patched.

    lines      wires between a process and a server, which a test may hold or cut at a word
    crew       what the processes do: read, write, move, erase, classify, keep
    stage      starts, stops and kills them
    history    what they have seen, and what in it breaks a promise

The processes are forked from a server process that has loaded Django once (multiprocessing's forkserver), never from
pytest. Whoever imports this package has Django set up.

FAULT_SECONDS, 3 unless given, is how long a server is frozen or away.
"""

import os

import django
from django.apps import apps

if not apps.ready:  # in the forkserver
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "scrm.settings")
    django.setup()
