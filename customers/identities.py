"""Who is meant by a unionid, an openid, a mobile, a member's number: the control database's map of identities.

    identity                        claimed by                          names
    mobile 13812345678              wmA                                 wmA
    mobile 13900000000              wmA (customer), wmA (import)        wmA: two say so
    mobile 13700000000              wmA, wmB                            nobody: ambiguous
    mobile 13600000000              wmA, wmB (weak)                     wmA
    mobile 13500000000              wmA (weak)                          wmA
    unionid oX…                     -                                   nobody yet: behaviours wait (profiles.waiting)

Weak is what a key that is restricted to departments says, until somebody unrestricted says the same: it counts only
where nobody says otherwise. (What WeCom's data finds on follows already, and leaves there, makes nothing stronger.) For
such a key itself only the claims of customers whom it may see are there at all: what it claims does not disturb the
others, and what it is told does not depend on them.

    owner        is                                                           replaces
    customer     unionid and mobile of the customer, whoever writes them      always: they are what the customer has
    follows      the mobiles on all follows of the customer                   always
    api:<key>    POST /identities/                                            with "replace": true
    import       manage.py import_identities                                  never

Only digests are kept (customers.identity_kinds). A claim is made after the customer has been committed, in another
database, so a crash between the two leaves the map behind; writing the same again mends it, also where nothing changes.
"""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from django.db import OperationalError, connection

from customers.identity_kinds import MOBILE, UNIONID, Pair, digests_of

CUSTOMER, FOLLOWS, IMPORT = "customer", "follows", "import"
ATTEMPTS = 5
# deadlock_detected, serialization_failure: PostgreSQL asks to try again
TRY_AGAIN = {"40P01", "40001"}

# Only who lives is given identities, and FOR SHARE makes an erasure that begins now wait, so that it sees them. What
# somebody gives up may now name another, for whom behaviours may wait: that one becomes fresh.
# LATERAL … OFFSET 0, and digests beside what is told, because the planner takes what JSON holds for a hundred rows and
# would join ten thousand of them with each other row by row; or with a map that it takes for empty, because it was when
# PostgreSQL last looked. This way each is found by an index.
CLAIM = """
WITH told AS MATERIALIZED (
    SELECT external_userid, kind, owner, ARRAY(SELECT decode(one, 'hex') FROM unnest(digests) AS one) AS digests
    FROM jsonb_to_recordset(%(told)s) AS one (external_userid text, kind text, owner text, digests text[])
), given AS MATERIALIZED (
    SELECT external_userid, kind, owner, decode(digest, 'hex') AS digest, is_weak
    FROM jsonb_to_recordset(%(given)s)
         AS one (external_userid text, kind text, owner text, digest text, is_weak boolean)
), looked AS MATERIALIZED (
    SELECT given.*, known.id, known.is_weak AS was_weak FROM given LEFT JOIN LATERAL
         (SELECT i.id, i.is_weak FROM identities i WHERE i.kind = given.kind AND i.digest = given.digest
          AND i.external_userid = given.external_userid AND i.owner = given.owner OFFSET 0) AS known ON true
), unknown AS MATERIALIZED (
    SELECT * FROM looked WHERE id IS NULL
), strengthened AS (
    UPDATE identities i SET is_weak = false, is_fresh = true
    WHERE i.id = ANY (ARRAY(SELECT id FROM looked WHERE was_weak AND NOT is_weak))
), living AS MATERIALIZED (
    SELECT one.* FROM (SELECT * FROM unknown ORDER BY external_userid) AS one, LATERAL
         (SELECT 1 FROM directory d WHERE d.external_userid = one.external_userid AND d.state IN ('live', 'moving')
          OFFSET 0 FOR SHARE) AS found
), added AS (
    INSERT INTO identities (kind, digest, external_userid, owner, is_weak, is_fresh, created_at)
    SELECT kind, digest, external_userid, owner, COALESCE(is_weak, false), true, now() FROM living
    ORDER BY kind, digest, external_userid, owner
    ON CONFLICT DO NOTHING RETURNING external_userid, kind, digest
), stale AS MATERIALIZED (
    SELECT found.id FROM told, LATERAL
         (SELECT i.id FROM identities i WHERE i.external_userid = told.external_userid AND i.kind = told.kind
          AND i.owner = told.owner AND i.digest <> ALL (told.digests) OFFSET 0) AS found
), given_up AS (
    DELETE FROM identities i WHERE i.id = ANY (ARRAY(SELECT id FROM stale)) RETURNING i.id, i.kind, i.digest
), others AS MATERIALIZED (
    SELECT found.id FROM (SELECT DISTINCT kind, digest FROM given_up) AS g, LATERAL
         (SELECT i.id FROM identities i WHERE i.kind = g.kind AND i.digest = g.digest OFFSET 0) AS found
), freshened AS (
    UPDATE identities i SET is_fresh = true
    WHERE i.id = ANY (ARRAY(SELECT id FROM others EXCEPT SELECT id FROM given_up
                            EXCEPT SELECT id FROM looked WHERE was_weak AND NOT is_weak))
)
SELECT external_userid, kind, digest FROM added
"""
RESOLVE = """
SELECT i.kind, i.digest,
       COALESCE(min(i.external_userid) FILTER (WHERE NOT i.is_weak), min(i.external_userid)),
       CASE WHEN bool_and(i.is_weak) THEN count(DISTINCT i.external_userid)
            ELSE count(DISTINCT i.external_userid) FILTER (WHERE NOT i.is_weak) END
FROM unnest(%s::text[], %s::bytea[]) AS asked (kind, digest)
JOIN identities i ON i.kind = asked.kind AND i.digest = asked.digest
GROUP BY i.kind, i.digest
"""
CLAIMANTS = """
SELECT i.kind, i.digest, i.external_userid, bool_and(i.is_weak)
FROM unnest(%s::text[], %s::bytea[]) AS asked (kind, digest)
JOIN identities i ON i.kind = asked.kind AND i.digest = asked.digest
GROUP BY i.kind, i.digest, i.external_userid
"""
FORGET = """
WITH gone AS (
    DELETE FROM identities WHERE external_userid = %s RETURNING id, kind, digest
), freshened AS (
    UPDATE identities i SET is_fresh = true FROM (SELECT DISTINCT kind, digest FROM gone) AS g
    WHERE i.kind = g.kind AND i.digest = g.digest AND i.id NOT IN (SELECT id FROM gone)
)
SELECT count(*) FROM gone
"""
# Without a condition on is_fresh, so that it waits for whoever is just clearing it.
FRESHEN = """
UPDATE identities i SET is_fresh = true
FROM unnest(%s::text[], %s::bytea[]) AS asked (kind, digest) WHERE i.kind = asked.kind AND i.digest = asked.digest
RETURNING i.id
"""
LIST_FRESH = """
SELECT id, xmin::text, kind, digest FROM identities WHERE is_fresh AND id > %s ORDER BY id LIMIT %s
"""
# xmin tells whether anybody has written the row since it was read, also if that left it as it was.
SETTLE = """
UPDATE identities i SET is_fresh = false
FROM unnest(%s::bigint[], %s::text[]) AS seen (id, version) WHERE i.id = seen.id AND i.xmin::text = seen.version
"""


@dataclass(frozen=True)
class Claim:
    """That these identities of a kind are a customer's, as an owner says. replaces: those, and no others of that
    owner's. is_weak: a restricted key says so; None: whoever said so, it stays as weak as it is."""

    external_userid: str
    owner: str
    kind: str
    digests: frozenset[bytes]
    replaces: bool = True
    is_weak: bool | None = False


class Fresh(NamedTuple):
    """A claim that waiting behaviours have not been looked through for. version: of the row, as it was read."""

    id: int
    version: str
    pair: Pair


def claims_of(
    external_userid: str,
    fields: Mapping[str, Any],
    mobiles: Iterable[str] | None,
    *,
    kept: Iterable[str] = (),
    is_new: bool = False,
    is_weak: bool | None = False,
) -> list[Claim]:
    """Return what a customer's own data claims: unionid and mobile, if they are among the fields, and follows' mobiles.

    mobiles: of all follows, None if they are not told. kept: those of them that the data only leaves as they are; they
    stay as weak as they are, too. is_new: there is nothing yet that empty ones could replace. is_weak: see Claim.
    """
    claims = []
    for kind in (UNIONID, MOBILE):
        if kind in fields:
            values = [fields[kind]] if fields[kind] else []
            claims.append(Claim(external_userid, CUSTOMER, kind, digests_of(kind, values), is_weak=is_weak))
    if mobiles is not None:
        claims.append(Claim(external_userid, FOLLOWS, MOBILE, digests_of(MOBILE, mobiles), is_weak=is_weak))
        left = digests_of(MOBILE, kept)
        claims += [Claim(external_userid, FOLLOWS, MOBILE, left, replaces=False, is_weak=None)] if left else []
    return [claim for claim in claims if claim.digests or not is_new]


def claim_identities(claims: Sequence[Claim]) -> set[tuple[str, str, bytes]]:
    """Bring the map to what is claimed. Idempotent; returns what is new in it: (external_userid, kind, digest).

    Of two claims of the same the last says how weak it is.
    Nothing is claimed for whoever is not in the directory, or is being erased.
    Database: control, one statement, whatever the number; none for no claims.
    """
    if not claims:
        return set()
    named = [(claim, _named(claim)) for claim in claims]
    told = {
        (c.external_userid, c.kind, c.owner): {**row, "digests": [one.hex() for one in c.digests]}
        for c, row in named
        if c.replaces
    }
    given = {
        (c.external_userid, c.kind, c.owner, one): {**row, "digest": one.hex(), "is_weak": c.is_weak}
        for c, row in named
        for one in c.digests
    }
    parameters = {
        "told": orjson.dumps(list(told.values())).decode(),
        "given": orjson.dumps(list(given.values())).decode(),
    }
    return {(who, kind, bytes(digest)) for who, kind, digest in _execute(CLAIM, parameters)}


def _named(claim: Claim) -> dict[str, str]:
    return {"external_userid": claim.external_userid, "kind": claim.kind, "owner": claim.owner}


def resolve(pairs: Collection[Pair]) -> dict[Pair, str | None]:
    """Return whom identities name: {pair: external_userid}, None where several customers claim it.

    Whom nobody claims is left out. For whoever may see everybody; for others see list_claimants.
    Database: one query on the control database, whatever the number.
    """
    found = _execute(RESOLVE, _columns(pairs)) if pairs else []
    return {(kind, bytes(digest)): who if count == 1 else None for kind, digest, who, count in found}


def list_claimants(pairs: Collection[Pair]) -> dict[Pair, dict[str, bool]]:
    """Return who claims identities: {pair: {external_userid: whether weakly}}. Whom nobody claims is left out.

    Database: one query on the control database, whatever the number.
    """
    found: dict[Pair, dict[str, bool]] = {}
    for kind, digest, external_userid, is_weak in _execute(CLAIMANTS, _columns(pairs)) if pairs else []:
        found.setdefault((kind, bytes(digest)), {})[external_userid] = is_weak
    return found


def choose(claimants: Mapping[str, bool]) -> str | None:
    """Return whom an identity names among these, {external_userid: whether weakly}; None: nobody, or several.

    >>> choose({"wmA": False, "wmB": True}), choose({"wmB": True}), choose({"wmA": True, "wmB": True}), choose({})
    ('wmA', 'wmB', None, None)
    """
    strong = [one for one, is_weak in claimants.items() if not is_weak]
    left = strong or list(claimants)
    return left[0] if len(left) == 1 else None


def pairs_of(external_userid: str) -> list[Pair]:
    """Return the identities that a customer claims. Database: one query on control."""
    rows = _execute("SELECT DISTINCT kind, digest FROM identities WHERE external_userid = %s", [external_userid])
    return [(kind, bytes(digest)) for kind, digest in rows]


def forget(external_userid: str) -> int:
    """Delete a customer's identities. Returns how many. Database: one statement on control."""
    return int(_execute(FORGET, [external_userid])[0][0])


def freshen(pairs: Collection[Pair]) -> None:
    """Have the waiting behaviours of these looked through again, if anybody claims them. One statement on control."""
    if pairs:
        _execute(FRESHEN, _columns(sorted(pairs)))


def list_fresh(*, after: int = 0, limit: int) -> list[Fresh]:
    """Return fresh claims in order of id. Database: one query on control, by the index of the fresh."""
    rows = _execute(LIST_FRESH, [after, limit])
    return [Fresh(number, version, (kind, bytes(digest))) for number, version, kind, digest in rows]


def settle_fresh(fresh: Sequence[Fresh]) -> None:
    """Say that these have been looked through, but for those that somebody has freshened since they were listed."""
    if fresh:
        with connection.cursor() as cursor:
            cursor.execute(SETTLE, [[one.id for one in fresh], [one.version for one in fresh]])


def _columns(pairs: Collection[Pair]) -> list[Any]:
    unique = list(dict.fromkeys(pairs))
    return [[kind for kind, _ in unique], [digest for _, digest in unique]]


def _execute(statement: str, parameters: Any) -> list[Any]:
    """Run a statement; two that meet on the same rows in different orders are not the caller's concern."""
    for attempt in range(ATTEMPTS):
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, parameters)
                return cursor.fetchall()
        except OperationalError as error:
            is_passing = getattr(error.__cause__, "sqlstate", None) in TRY_AGAIN
            if not is_passing or connection.in_atomic_block or attempt == ATTEMPTS - 1:
                raise
        time.sleep(0.01 * 2**attempt)
    raise AssertionError("the last attempt returns or raises")
