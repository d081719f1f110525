"""Who asks: keys in `Authorization: Bearer …`, looked up in the process.

    Authorization: Bearer scrm_q0J…      → KeyHolder("shop", {"customers:read", …}, (2,))
    none                                 → NotAuthenticatedError, 401
    Basic …, an unknown or revoked key   → InvalidKeyError, 401
    the control database is down and the key is not held  → UnavailableError, 503: it may be a good one

The whole table is small and held by each process as {digest of token: holder}:

    the ring is         a known key                                an unknown key
    ≤ 30 s old          answered without a query                   one query, at most one a second on average (five at
                                                                   once), so that a fresh key works at once
    older               read anew first                            the same
    ≤ 5 min, DB down    answered from what is held                 503
    older, DB down      503                                        503

So a revoked key works for at most 30 s, and 5 min while the control database cannot say that it is revoked.

Tokens are looked up by their SHA-256: how long that takes tells nothing of any token, as nobody can steer a digest
towards a stored one.
"""

import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NoReturn

import structlog
from django.db import Error as DatabaseError
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from scrm.api.models import ApiKey, digest_of
from scrm.api.problems import InvalidKeyError, MissingScopeError, NotAuthenticatedError, UnavailableError
from scrm.api.scopes import DEFAULT_SCOPES, SCOPES

log = structlog.get_logger(__name__)

HELD_SECONDS = 30.0
STALE_SECONDS = 300.0
RETRY_SECONDS = 5.0
FRESH_LOOKS = 5
USES_SECONDS = 3600.0
TOKEN_START = "scrm_"  # noqa: S105 - how every token begins, so that one in a log or a repository is recognised
PREFIX_LENGTH = 12
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/=-]{1,200})", re.IGNORECASE)


@dataclass(frozen=True)
class KeyHolder:
    """A program that has shown a good key. department_ids: those it is restricted to; none means all."""

    name: str
    scopes: frozenset[str]
    department_ids: tuple[int, ...]

    is_authenticated = True
    is_anonymous = False

    def require(self, scope: str) -> None:
        """Raise MissingScopeError unless the key has a scope."""
        if scope not in self.scopes:
            raise MissingScopeError(scope)

    def __str__(self) -> str:
        return self.name


class DuplicateKeyNameError(ValueError):
    """A key of this name exists, or did: names are sources of behaviours, so a revoked one is not given again."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is a key named {name!r} already, maybe a revoked one. Choose another name.")


class InvalidKeyDataError(ValueError):
    """A name, scope or department that no key can have."""


# ---- asking ----------------------------------------------------------------------------------------------------------


def authenticate(header: str | None) -> KeyHolder:
    """Return whose key an Authorization header holds.

    Database: none for a key that is held; one query on the control database when the ring is old or the key unknown.
    Raises NotAuthenticatedError, InvalidKeyError, UnavailableError.
    """
    if not header:
        raise NotAuthenticatedError
    match = _BEARER.fullmatch(header.strip())
    if match is None:
        raise InvalidKeyError("Authorization must be `Bearer` and a key.")
    holder = ring.find(digest_of(match[1]))
    if holder is None:
        raise InvalidKeyError
    _uses.note(holder.name)
    return holder


@dataclass(frozen=True)
class _Keys:
    """read_at: before the reading began. generation: how often the ring had been told to forget by then."""

    read_at: float
    generation: int
    holders: Mapping[str, KeyHolder]


class KeyRing:
    """The live keys of the control database, held as the module says. `read` returns {digest: holder}."""

    def __init__(
        self, read: Callable[[], Mapping[str, KeyHolder]], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: _Keys | None = None
        self._generation = 0
        self._retry_at = 0.0  # above 0 while the database did not answer the last time
        self._fresh_looks = float(FRESH_LOOKS)
        self._fresh_looks_at = clock()

    def find(self, digest: str) -> KeyHolder | None:
        """Return the holder of a live key, None if there is none. Raises UnavailableError when that cannot be told."""
        asked_at = self._clock()
        keys = self._keys
        if keys is None or asked_at - keys.read_at >= HELD_SECONDS or keys.generation != self._generation:
            keys = self._renew(keys)
        holder = keys.holders.get(digest)
        if holder is None and keys.read_at < asked_at:
            holder = self._look_again(keys).holders.get(digest)
        return holder

    def forget(self) -> None:
        """Make the next lookup read the keys, also while one is being read."""
        self._generation += 1

    def _renew(self, old: _Keys | None) -> _Keys:
        # While the database does not answer, one thread finds that out and the others go on with what is held.
        if not self._lock.acquire(timeout=0 if self._retry_at else -1):
            return self._stale()
        try:
            if self._keys is not old and self._keys is not None and self._keys.generation == self._generation:
                return self._keys  # another thread has just read them
            return self._read_keys() or self._stale()
        finally:
            self._lock.release()

    def _look_again(self, keys: _Keys) -> _Keys:
        with self._lock:
            if self._keys is not None and self._keys is not keys:
                return self._keys
            now = self._clock()
            self._fresh_looks = min(FRESH_LOOKS, self._fresh_looks + now - self._fresh_looks_at)
            self._fresh_looks_at = now
            if self._fresh_looks < 1 and not self._retry_at:
                return keys
            self._fresh_looks = max(0.0, self._fresh_looks - 1)
            return self._read_keys() or self._unavailable()

    def _read_keys(self) -> _Keys | None:
        """Read the keys, lock held; None when the database does not answer, or did not a moment ago."""
        read_at, generation = self._clock(), self._generation
        if read_at < self._retry_at:
            return None
        try:
            holders = self._read()
        except DatabaseError as error:
            log.warning("keys_unreadable", error=type(error).__name__)
            self._retry_at = self._clock() + RETRY_SECONDS
            return None
        self._retry_at = 0.0
        self._keys = _Keys(read_at, generation, holders)
        return self._keys

    def _stale(self) -> _Keys:
        keys = self._keys
        if keys is None or self._clock() - keys.read_at > STALE_SECONDS:
            return self._unavailable()
        return keys

    def _unavailable(self) -> NoReturn:
        raise UnavailableError("Keys cannot be checked now: the control database does not answer.")


def _read_holders() -> dict[str, KeyHolder]:
    rows = ApiKey.objects.filter(revoked_at=None).values_list("digest", "name", "scopes", "department_ids")
    return {
        digest: KeyHolder(name, frozenset(scopes), tuple(departments)) for digest, name, scopes, departments in rows
    }


ring = KeyRing(_read_holders)


# ---- when a key was last used ----------------------------------------------------------------------------------------


class _Uses:
    """Which keys were used of late; each comes up at most once an hour and process."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._noted_at: dict[str, float] = {}
        self.pending: set[str] = set()

    def note(self, name: str) -> None:
        now = self._clock()
        if now - self._noted_at.get(name, -USES_SECONDS) >= USES_SECONDS:
            self._noted_at[name] = now
            self.pending.add(name)


_uses = _Uses()


def record_uses() -> None:
    """Write down the day of the keys that were used lately. Called after each request, and nearly always has nothing.

    Database: one update on the control database after the first request of a key in an hour; it changes a row at most
    once a day.
    """
    if not _uses.pending:
        return
    names, _uses.pending = _uses.pending, set()
    today = timezone.localdate()
    try:
        older = Q(last_used_on=None) | Q(last_used_on__lt=today)
        ApiKey.objects.filter(older, name__in=names).update(last_used_on=today)
    except DatabaseError as error:
        log.warning("key_uses_unwritten", error=type(error).__name__)


# ---- making and revoking ---------------------------------------------------------------------------------------------


def create_key(name: str, *, scopes: Iterable[str] = DEFAULT_SCOPES, department_ids: Iterable[int] = ()) -> str:
    """Make a key and return its token, which is kept nowhere: only its digest is.

    scopes: all but pii:read unless told; department_ids: none means all. Database: one insert on the control database.
    Raises DuplicateKeyNameError, InvalidKeyDataError.
    """
    wanted, departments = sorted(set(scopes)), sorted(set(department_ids))
    _check_key(name, wanted, departments)
    token = TOKEN_START + secrets.token_urlsafe(32)
    key = ApiKey(
        name=name,
        prefix=token[:PREFIX_LENGTH],
        digest=digest_of(token),
        scopes=wanted,
        department_ids=departments,
    )
    try:
        with transaction.atomic():
            key.save(force_insert=True)
    except IntegrityError:
        raise DuplicateKeyNameError(name) from None
    transaction.on_commit(ring.forget)
    ring.forget()
    return token


def revoke_key(name: str) -> bool:
    """Revoke a key; False when there is no live one of that name. Other processes follow within 30 s."""
    revoked = ApiKey.objects.filter(name=name, revoked_at=None).update(revoked_at=timezone.now())
    transaction.on_commit(ring.forget)
    ring.forget()
    return revoked == 1


def _check_key(name: str, scopes: list[str], departments: list[int]) -> None:
    if not 1 <= len(name) <= 64 or name != name.strip() or not name.isprintable():
        raise InvalidKeyDataError("A name has 1 to 64 visible characters and no space at either end.")
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown:
        raise InvalidKeyDataError(f"There is no scope {', '.join(unknown)}; there are {', '.join(SCOPES)}.")
    if not scopes:
        raise InvalidKeyDataError("A key without a scope can do nothing: name at least one.")
    if any(not 1 <= department < 2**32 for department in departments):
        raise InvalidKeyDataError("A department is WeCom's number of it, from 1 to 4294967295.")
