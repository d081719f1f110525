"""What staff write down about a customer. Notes are not part of what a lookup shows, so no cache knows of them."""

import uuid
from datetime import datetime

from django.utils import timezone

from customers.models import Customer, Note
from scrm import sharding

MAX_LENGTH = 2000
MAX_NOTES = 1000


class NoteError(Exception):
    """A note that cannot be kept. The message is for whoever wrote it."""


def list_notes(customer_id: int, *, before: datetime | None = None, limit: int = 20) -> list[Note]:
    """Return notes, the newest first, those before a moment. Database: one query on the home's."""
    notes = Note.objects.using(sharding.alias(sharding.home_of(customer_id))).filter(
        customer_id=customer_id, bucket=sharding.bucket_of(customer_id)
    )
    if before is not None:
        notes = notes.filter(created_at__lt=before)
    return list(notes.order_by("-created_at", "note_id")[:limit])


def add_note(customer_id: int, text: str, *, author: str) -> Note:
    """Keep a note about a customer who is there.

    Database: three statements on the home's, one transaction. Raises NoteError, HomeUnavailableError.
    """
    text = text.strip().replace("\x00", "")
    if not text:
        raise NoteError("请先写下内容。")
    if len(text) > MAX_LENGTH:
        raise NoteError(f"一条记录最多 {MAX_LENGTH} 个字，这里有 {len(text)} 个。")
    with sharding.atomic(customer_id) as alias:
        # The row is locked, so that an erasure comes before or after, and the limit holds.
        if not Customer.objects.using(alias).select_for_update(no_key=True).filter(customer_id=customer_id).exists():
            raise NoteError("这位客户已不在这里。")
        notes = Note.objects.using(alias).filter(customer_id=customer_id, bucket=sharding.bucket_of(customer_id))
        if notes.count() >= MAX_NOTES:
            raise NoteError(f"一位客户最多保留 {MAX_NOTES} 条跟进记录，请先删除旧的。")
        note = Note(
            customer_id=customer_id, bucket=sharding.bucket_of(customer_id), note_id=uuid.uuid4(), author=author,
            text=text, created_at=timezone.now(),
        )  # fmt: skip
        note.save(using=alias, force_insert=True)
    return note


def delete_note(customer_id: int, note_id: uuid.UUID, *, author: str) -> bool:
    """Delete a note that this author wrote. Returns whether there was one. Database: one statement on the home's."""
    with sharding.atomic(customer_id) as alias:
        deleted, _ = (
            Note.objects.using(alias)
            .filter(customer_id=customer_id, bucket=sharding.bucket_of(customer_id), note_id=note_id, author=author)
            .delete()
        )
    return bool(deleted)
