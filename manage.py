#!/usr/bin/env python
"""Django's command line. With DEBUG on it starts, or joins, the servers that the environment does not name.

They are up before the settings are read, and down when the command that started them ends; its child processes inherit
their URLs and so start nothing. With DEBUG off nothing is assumed: the settings say what is missing.
"""

import os
import sys
from collections.abc import Sequence

from django.core.management import execute_from_command_line

from scrm import embedded, env

# What asks neither a database nor a cache; so does everything with --help.
WITHOUT_SERVERS = {"check", "collectstatic", "compilemessages", "help", "makemessages", "version", "wxwork_simulator"}
HELP = {"-h", "--help", "--version"}


def needs_servers(arguments: Sequence[str]) -> bool:
    """Return whether a command line (without the program) will connect to anything.

    >>> needs_servers(["migrate_shards"]), needs_servers(["check", "--deploy"]), needs_servers(["demo", "--help"])
    (True, False, False)
    """
    return bool(arguments) and arguments[0] not in WITHOUT_SERVERS and HELP.isdisjoint(arguments)


def main() -> None:
    """Run one command."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "scrm.settings")
    if env.flag(os.environ, "DEBUG", default=True) and needs_servers(sys.argv[1:]):
        try:
            embedded.provide(os.environ, embedded.local_folder(os.environ) / "embedded")
        except embedded.EmbeddedServersError as error:
            sys.exit(str(error))
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
