"""Say what is wrong with callbacks, in words: a part of `manage.py doctor`.

Callbacks that are refused leave no row, and are counted in the web servers' processes; so that doctor, in a process of
its own, can tell which setting is wrong, the last refusal of each kind is noted in Redis for a day, if it answers.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.utils import timezone

from scrm.cache import CacheRefusedError, CacheUnreachableError
from scrm.cache.client import redis_client
from scrm.doctor import Finding
from wxwork.models import Callback

NOTE = "wxwork_callback_refused:{}"
NOTE_SECONDS = 86_400
LATE = timedelta(seconds=60)
WRONG_KEY = (
    "Copy the EncodingAESKey of the callback page into WXWORK_CALLBACK_AES_KEY, at the place that its token has in "
    "WXWORK_CALLBACK_TOKEN."
)
REMEDIES = {
    "signature": "Copy the Token of the callback page in WeCom's admin into WXWORK_CALLBACK_TOKEN; during a change "
    "give old and new, separated by commas.",
    "ciphertext": WRONG_KEY,
    "padding": WRONG_KEY,
    "length": WRONG_KEY,
    "encoding": WRONG_KEY,
    "receiveid": "They are for another company: check WXWORK_CORP_ID.",
    "stale": "They were signed longer ago than WXWORK_CALLBACK_MAX_AGE_SECONDS: check this machine's clock, or raise "
    "it.",
}


def note_refusal(kind: str) -> None:
    """Note that a callback was refused, if the kind says something of our settings and Redis answers."""
    if kind not in REMEDIES:
        return
    try:
        redis_client().call("SET", NOTE.format(kind), int(timezone.now().timestamp()), "EX", NOTE_SECONDS)
    except (CacheRefusedError, CacheUnreachableError):
        return


def find_troubles() -> Iterator[Finding]:
    """Look at the settings, what was refused, and what waits. Database: two queries on the control database."""
    if not settings.WXWORK_CALLBACK_TOKEN:
        yield Finding(
            "WXWORK_CALLBACK_TOKEN is not set: every callback is refused, changes are only found by the nightly sync.",
            "Set it and WXWORK_CALLBACK_AES_KEY as on the callback page of the application in WeCom's admin.",
            is_problem=bool(settings.WXWORK_SECRET),
        )
    yield from _refused()
    late = Callback.objects.filter(state=Callback.State.PENDING, due_at__lt=timezone.now() - LATE).order_by("due_at")
    if oldest := late.first():
        minutes = int((timezone.now() - oldest.due_at).total_seconds() // 60)
        yield Finding(
            f"Callbacks have been waiting for {minutes} min. {oldest.error}".rstrip(),
            "See that a worker runs for the queue `callbacks`, and what the oldest waits for: 回调消息 in the admin.",
        )
    if dead := Callback.objects.filter(state=Callback.State.DEAD).count():
        yield Finding(
            f"{dead} callbacks could not be handled.",
            "Read why under 回调消息 in the admin, mend it, and replay them there.",
            is_problem=False,
        )


def _refused() -> Iterator[Finding]:
    last_good = Callback.objects.order_by("-id").values_list("received_at", flat=True).first()
    for kind, remedy in REMEDIES.items():
        try:
            found = redis_client().call("GET", NOTE.format(kind))
        except (CacheRefusedError, CacheUnreachableError):
            return
        at = datetime.fromtimestamp(int(found), tz=UTC) if found else None
        # What was refused before the last good one has been mended, or was nobody's callback.
        if at is not None and (last_good is None or at > last_good):
            yield Finding(f"Callbacks do not verify ({kind}), last at {timezone.localtime(at):%Y-%m-%d %H:%M}.", remedy)
