"""What the inbox does not keep: persons who were erased, mobile numbers in errors, and what is old.

An erasure deletes a person's callbacks (and what was owed to them), and takes their id out of callbacks about others,
which name the members that joined or left a group. A callback that comes later is handled like any other, and its
handler respects the tombstone; when it is finished, whoever it names and is erased is taken out of its row: the row
stays, with the digest that recognises a repeat, and says nothing of anybody; its welcome goes.
"""

from collections.abc import Iterable
from datetime import timedelta
from xml.sax.saxutils import escape

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from customers import erasure
from customers.identity import digest, is_external_userid
from customers.models import DirectoryEntry, Erasure, Tombstone
from wxwork.messages import MessageError, parse_message
from wxwork.models import Callback, CallbackKey, GroupMember, WelcomeDelivery

FORGOTTEN = "<xml></xml>"
BATCH = 2_000
TAKE_OUT = """
UPDATE callbacks SET xml = replace(replace(xml, %(cdata)s, '<![CDATA[]]>'), %(plain)s, '><')
WHERE (strpos(xml, %(cdata)s) > 0 OR strpos(xml, %(plain)s) > 0) AND external_userid <> %(external_userid)s
"""


def erased_among(external_userids: Iterable[str]) -> set[str]:
    """Return who of these was erased, or is being erased, and has not come back.

    Database: one query on the control database, a second one for those who are not in the directory.
    """
    asked = {one for one in external_userids if is_external_userid(one)}
    if not asked:
        return set()
    known = dict(DirectoryEntry.objects.filter(external_userid__in=asked).values_list("external_userid", "state"))
    strangers = {digest(one): one for one in asked - known.keys()}
    gone = {one for one, state in known.items() if state == DirectoryEntry.State.ERASING}
    if strangers:
        found = Tombstone.objects.filter(digest__in=list(strangers)).values_list("digest", flat=True)
        gone |= {strangers[bytes(key)] for key in found}
    return gone


def what_to_forget(external_userid: str, xml: str) -> tuple[bool, str | None]:
    """Return whether a finished callback is about somebody erased, and what to keep of its XML (None: all of it)."""
    try:
        named = set(parse_message(xml.encode()).items("MemChangeList"))
    except MessageError:
        named = set()
    erased = erased_among({external_userid, *named} - {""})
    if not erased:
        return False, None
    if external_userid in erased:
        return True, FORGOTTEN
    return False, _without(xml, erased)


def _without(xml: str, external_userids: Iterable[str]) -> str:
    for one in external_userids:
        xml = xml.replace(f"<![CDATA[{one}]]>", "<![CDATA[]]>").replace(f">{escape(one)}<", "><")
    return xml


@erasure.place("inbox")
def forget_callbacks(external_userid: str, _customer_ids: list[int]) -> int:
    """Delete a person's callbacks and welcomes, and take them out of others' callbacks. Returns how many rows.

    What came after the erasure was asked for stays: it may be a new add, and its handler knows what to do. If it has
    been handled already, it is forgotten as if it were handled now.
    Database: control; one scan of the inbox, which holds some weeks.
    """
    job = Erasure.objects.filter(digest=digest(external_userid), state=Erasure.State.RUNNING).first()
    until = job.requested_at if job else timezone.now()
    theirs = Callback.objects.filter(external_userid=external_userid)
    with transaction.atomic():
        keys = [one.key for one in CallbackKey.objects.select_for_update().filter(key__in=theirs.values("key"))]
        before, _ = theirs.filter(received_at__lte=until).delete()
        over = theirs.exclude(state=Callback.State.PENDING)
        WelcomeDelivery.objects.filter(callback__in=over).delete()
        after = over.update(external_userid="", key="", xml=FORGOTTEN)
        # Whoever has a key ends it; one that waits for a retry would go on naming them till then.
        waiting = Callback.objects.filter(key=OuterRef("key"), state=Callback.State.PENDING)
        CallbackKey.objects.filter(~Exists(waiting), key__in=keys, token=None).delete()
    with connection.cursor() as cursor:
        # One of theirs that still waits keeps the id, which it needs: finishing it forgets it.
        cursor.execute(
            TAKE_OUT,
            {
                "cdata": f"<![CDATA[{external_userid}]]>", "plain": f">{escape(external_userid)}<",
                "external_userid": external_userid,
            },
        )  # fmt: skip
        named = cursor.rowcount
    return before + after + named


@erasure.place("groups")
def forget_member(external_userid: str, _customer_ids: list[int]) -> int:
    """Take a person out of all groups; wxwork.groups does not put them back. Returns how many."""
    gone, _ = GroupMember.objects.filter(member_id=external_userid, type=GroupMember.Type.CUSTOMER).delete()
    return gone


def delete_old() -> int:
    """Delete callbacks that were finished long ago, but for dead letters. Returns how many.

    Repeats must be recognised for three days at least (contract §2.6), whatever the setting says.
    """
    until = timezone.now() - timedelta(days=max(3, settings.WXWORK_CALLBACK_KEEP_DAYS))
    deleted = 0
    while True:
        with transaction.atomic():
            # Locked, so that a repeat or a replay at this moment finds it gone, or is left with what it made due again.
            old = list(
                Callback.objects.filter(state__in=[Callback.State.DONE, Callback.State.IGNORED], finished_at__lt=until)
                .select_for_update(skip_locked=True)
                .order_by("finished_at")
                .values_list("id", flat=True)[:BATCH]
            )
            Callback.objects.filter(id__in=old).delete()
        deleted += len(old)
        if len(old) < BATCH:
            return deleted
