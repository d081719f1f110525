import os
import subprocess
import sys

from django.conf import settings


def check(**environ):
    """Run `manage.py check --deploy` with DEBUG off and nothing else but these variables."""
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy"],
        env={"PATH": os.environ["PATH"], "DEBUG": "0", **environ},
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_with_debug_off_and_nothing_set_the_check_says_all_that_is_missing():
    code, output = check()
    assert code == 1
    assert "Traceback" not in output
    for what in ("scrm.E001", "SECRET_KEY is not set", "scrm.E002", "DEPARTMENT_DATABASES", "scrm.E003"):
        assert what in output


def test_a_complete_environment_passes():
    code, output = check(
        SECRET_KEY="a-key-of-fifty-characters-and-of-many-different-ones-0123456789",
        ALLOWED_HOSTS="scrm.example.com",
        DATABASE_URL="postgres://db/scrm",
        DEPARTMENT_DATABASES="100=postgres://db/dept_100",
        REDIS_URL="redis://cache/0",
        CELERY_BROKER_URL="redis://broker/0",
    )
    assert (code, output.strip()) == (0, "System check identified no issues (0 silenced).")
