"""Write down who did what to whom. The subject is kept as an HMAC, so that the record outlives an erasure."""

from collections.abc import Iterable
from typing import Any

from customers.identity import digest
from customers.models import Audit


def record(actor: str, action: str, external_userid: str = "", detail: dict[str, Any] | None = None) -> None:
    """Add an audit row. Database: one insert on the control database."""
    subject = digest(external_userid).hex() if external_userid else ""
    Audit.objects.create(actor=actor[:128], action=action, subject=subject, detail=detail or {})


def record_many(actor: str, action: str, external_userids: Iterable[str]) -> None:
    """Add an audit row for each person. Database: one insert on the control database, none for nobody."""
    Audit.objects.bulk_create(
        Audit(actor=actor[:128], action=action, subject=digest(one).hex(), detail={}) for one in external_userids
    )


def subject_of(external_userid: str) -> str:
    """Return what Audit.subject holds for a person."""
    return digest(external_userid).hex()
