"""Read what the environment gives. Pure: no Django, no file, no server.

variable                 form                                             unset
DATABASE_URL             postgres://user:password@host:port/name          embedded PostgreSQL
DEPARTMENT_DATABASES     100=postgres://…/dept_100,101=postgres://…       embedded PostgreSQL, homes 100 and 101
REDIS_URL                redis://host:port/0, the cache                   embedded Valkey
CELERY_BROKER_URL        redis://host:port/0, the broker                  REDIS_URL if given, else embedded Valkey
everything else          see docs/configuration.md
"""

from collections.abc import Mapping
from datetime import datetime, time
from urllib.parse import parse_qsl, unquote, urlsplit

FALSE_WORDS = {"", "0", "false", "no", "off"}
DATABASE_SCHEMES = {"postgres", "postgresql"}


class ConfigurationError(ValueError):
    """A variable of the environment cannot be used; the message says which and what form it wants."""


def flag(environ: Mapping[str, str], name: str, *, default: bool) -> bool:
    """Return whether a variable is switched on.

    >>> flag({"DEBUG": "off"}, "DEBUG", default=True)
    False
    """
    value = environ.get(name)
    return default if value is None else value.strip().lower() not in FALSE_WORDS


def words(environ: Mapping[str, str], name: str, default: str = "") -> list[str]:
    """Return a comma-separated variable as a list, blanks dropped.

    >>> words({"HOSTS": "a, b,"}, "HOSTS")
    ['a', 'b']
    """
    return [word.strip() for word in environ.get(name, default).split(",") if word.strip()]


def number(environ: Mapping[str, str], name: str, default: int) -> int:
    """Return an integer variable. Raises ConfigurationError when it is none."""
    value = environ.get(name, "").strip()
    if not value:
        return default
    try:
        return int(value)
    except ValueError:
        raise ConfigurationError(f"{name} must be a whole number, not {value!r}.") from None


def time_of_day(environ: Mapping[str, str], name: str, default: str) -> time:
    """Return a variable of the form HH:MM. Raises ConfigurationError when it is not.

    >>> time_of_day({"AT": "3:05"}, "AT", "03:20")
    datetime.time(3, 5)
    """
    value = environ.get(name, "").strip() or default
    try:
        return datetime.strptime(value, "%H:%M").time()
    except ValueError:
        raise ConfigurationError(f"{name} must be a time of the day like 03:20, not {value!r}.") from None


def department_urls(text: str) -> dict[int, str]:
    """Return {home: URL} of DEPARTMENT_DATABASES, in order of home.

    >>> department_urls("101=postgres://db/dept_101,100=postgres://db/dept_100")
    {100: 'postgres://db/dept_100', 101: 'postgres://db/dept_101'}

    Raises ConfigurationError: a part without `=`, a home that is no number, the same home or the same database twice.
    """
    urls: dict[int, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        home, separator, url = part.partition("=")
        if not separator or not home.strip().isascii() or not home.strip().isdigit():
            raise ConfigurationError("DEPARTMENT_DATABASES wants 100=postgres://…,101=postgres://… (home=URL).")
        if int(home) in urls:
            raise ConfigurationError(f"DEPARTMENT_DATABASES names home {int(home)} twice.")
        if url.strip() in urls.values():
            raise ConfigurationError(f"DEPARTMENT_DATABASES gives home {int(home)} a database that another home has.")
        urls[int(home)] = url.strip()
    return dict(sorted(urls.items()))


def database(url: str, *, name: str = "DATABASE_URL") -> dict[str, object]:
    """Return Django's DATABASES entry for a PostgreSQL URL; query parameters become libpq options.

    >>> database("postgres://scrm:p%40ss@db:5433/scrm?sslmode=require")["OPTIONS"]["sslmode"]
    'require'
    """
    parts = urlsplit(url)
    if parts.scheme not in DATABASE_SCHEMES or not parts.path.strip("/"):
        # The URL itself stays out of the message: it holds a password.
        raise ConfigurationError(f"{name} wants postgres://user:password@host:port/name.")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(parts.port or ""),
        "OPTIONS": dict(parse_qsl(parts.query)),
    }
