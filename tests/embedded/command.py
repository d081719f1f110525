"""A command that needs servers, for the tests to start, signal and kill.

It provides for the folder in its first argument, prints one line of JSON, and runs until its input ends. It does not
use the environment of the tests, only what follows the folder as NAME=VALUE.
"""

import json
import os
import sys
from pathlib import Path

from scrm.embedded import provide


def main() -> None:
    environ = dict(argument.split("=", 1) for argument in sys.argv[2:])
    provided = provide(environ, Path(sys.argv[1]), durable=False)
    print(json.dumps({"environ": environ, "started": provided.started, "joined": provided.joined}), flush=True)
    if os.fork() == 0:
        sys.exit(0)  # a fork runs the exit handlers too, and must not stop its parent's servers
    os.wait()
    print("forked", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
