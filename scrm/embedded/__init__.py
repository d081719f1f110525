"""Run a real PostgreSQL and two real Valkeys out of wheels, for `make demo` and the tests. Knows nothing of Django.

    server     is                                        variables it fills
    postgres   databases scrm, dept_100, dept_101        DATABASE_URL, DEPARTMENT_DATABASES
    cache      a Valkey that forgets                     REDIS_URL
    broker     a Valkey that keeps (AOF, noeviction)     CELERY_BROKER_URL

Each server of a folder is in one of four states, read from its record (`<folder>/<server>.json`) and what lives:

    absent     no record, or an ended one, and no process    -> start it; this command owns it now
    running    the record's owner and the server live        -> join it: only fill the environment
    orphaned   the server lives, its owner does not          -> stop it by pid, then start
    crashed    the owner lives, the server does not          -> start it on its old port; this command owns it now

    start      lock the folder, sort the needed servers into states, launch one warden for those to start, write records
    end        lock the folder, mark own records as ended, SIGTERM the warden and wait for it

The warden (`warden.py`) is a small process between owner and servers. It is their parent and waits for the owner to
die, whatever it dies of. So no signal handler is put into the owner, where Django, Celery and granian have theirs, and
a `kill -9` of the owner stops the servers too. Should the warden be killed as well, the next start finds its servers
by their command line.

The lock makes two starts at once end with one set. Nothing is found by name or port alone: a process belongs to a
folder only if it is a postgres or valkey-server whose arguments name that folder's data.
"""

from scrm.embedded.errors import EmbeddedServersError
from scrm.embedded.provision import Provided, local_folder, provide, remove

__all__ = ["EmbeddedServersError", "Provided", "local_folder", "provide", "remove"]
