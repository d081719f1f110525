"""When manage.py starts servers, and when it must not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from manage import needs_servers

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("arguments", [["migrate_shards"], ["demo"], ["shell"], ["makemigrations", "--check"]])
def test_commands_that_connect_get_servers(arguments: list[str]) -> None:
    assert needs_servers(arguments)


@pytest.mark.parametrize("arguments", [[], ["help"], ["--version"], ["check", "--deploy"], ["demo", "--help"]])
def test_commands_that_do_not_connect_start_nothing(arguments: list[str]) -> None:
    assert not needs_servers(arguments)


@pytest.mark.parametrize(("arguments", "debug"), [(["check", "--tag", "urls"], "1"), (["dbshell"], "0")])
def test_nothing_embedded_with_debug_off_or_without_need(arguments: list[str], debug: str, tmp_path: Path) -> None:
    folder = tmp_path / "local"
    subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=CHECKOUT,
        env={"PATH": os.environ["PATH"], "DEBUG": debug, "SECRET_KEY": "x" * 60, "SCRM_LOCAL_DIR": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert not folder.exists()
