"""Django's PostgreSQL backend for the control database, and what that of a department database is made from.

- **Queries are counted** for /metrics.
- **No question before the question.** Before the first query of every request Django sends `SELECT 1`. That doubles the
  round trips of a lookup, and says no more than the socket does: a server that ends a session says so on it. A server
  that froze is noticed by the query itself, as it would be by `SELECT 1`.
- **Who vanishes is noticed.** A cut cable or a lost machine, in ten seconds and not in two hours.
"""

import select
from typing import Any

import psycopg
from django_prometheus.db.backends.postgresql import base

VANISHED = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 2, "tcp_user_timeout": 10_000}


class DatabaseWrapper(base.DatabaseWrapper):
    def get_connection_params(self) -> dict[str, Any]:
        return VANISHED | super().get_connection_params()

    def is_usable(self) -> bool:
        """Tell whether the connection lives. Nothing to read: it does. Else a new one is made, also for a mere notice.

        Database: none.
        """
        if self.connection is None or self.connection.closed:
            return False
        try:
            poll = select.poll()
            poll.register(self.connection.fileno(), select.POLLIN)
            return not poll.poll(0)
        except (psycopg.Error, OSError):
            return False
