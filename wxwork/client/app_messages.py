"""Messages of the application to staff (应用消息). Docs 90236, 94867, 94888."""

from collections.abc import Iterable, Mapping
from typing import Any

from wxwork.client import arguments
from wxwork.client.calls import Calls, agent_id, need_one_of

SEND, RECALL = "/cgi-bin/message/send", "/cgi-bin/message/recall"
UPDATE_CARD = "/cgi-bin/message/update_template_card"
KINDS = (
    *("text", "image", "voice", "video", "file", "textcard", "news", "mpnews", "markdown", "miniprogram_notice"),
    "template_card",
)  # fmt: skip
STAFF, DEPARTMENTS, TAGS = 1_000, 100, 100
TEXT_BYTES = 2_048
ARTICLES = 8
LONGEST_CHECK_SECONDS = 4 * 3600
EVERYBODY = "@all"


class AppMessageCalls(Calls):
    def send_app_message(
        self,
        kind: str,
        content: Mapping[str, Any] | str,
        *,
        userids: Iterable[str] = (),
        departments: Iterable[int] = (),
        tags: Iterable[int] = (),
        to_everybody: bool = False,
        is_confidential: bool = False,
        duplicate_check_seconds: int = 0,
    ) -> dict[str, Any]:
        """Send a message to staff (doc 90236). Returns {"msgid", "invaliduser", …}: who did not get it, joined by `|`.

        kind: text, markdown, textcard, …; content: of that kind, or a text of 2 048 bytes for text and markdown.
        To 1 000 staff, 100 departments and 100 tags at most. duplicate_check_seconds: WeCom drops the same message to
        the same people within so long, 4 h at most. Not repeated after a timeout: it would be read twice. DataError
        81013: nobody gets it. Above 30 a minute to one member WeCom drops without a word.
        """
        arguments.choice("kind", kind, KINDS)
        names = arguments.identifiers("userids", userids, at_most=STAFF, at_least=0)
        parties = [str(arguments.department("departments", one)) for one in departments]
        labels = [str(arguments.number("tags", one, lowest=0, highest=2**31 - 1)) for one in tags]
        arguments.number("the number of departments", len(parties), lowest=0, highest=DEPARTMENTS)
        arguments.number("the number of tags", len(labels), lowest=0, highest=TAGS)
        need_one_of(userids=names, departments=parties, tags=labels, to_everybody=to_everybody or None)
        check = arguments.number("duplicate_check_seconds", duplicate_check_seconds, lowest=0,
                                 highest=LONGEST_CHECK_SECONDS)  # fmt: skip
        body = {
            "touser": EVERYBODY if to_everybody else "|".join(names),
            "toparty": "" if to_everybody else "|".join(parties),
            "totag": "" if to_everybody else "|".join(labels),
            "msgtype": kind,
            "agentid": agent_id(),
            kind: _content(kind, content),
            "safe": int(is_confidential),
            "enable_duplicate_check": int(check > 0),
            "duplicate_check_interval": check or None,
        }
        return self._post(SEND, body, is_repeatable=False)

    def recall_app_message(self, msgid: str) -> None:
        """Take a message back, within 24 h (doc 94867)."""
        self._post(RECALL, {"msgid": arguments.identifier("msgid", msgid, max_bytes=128)})

    def update_template_card(
        self,
        response_code: str,
        *,
        userids: Iterable[str] = (),
        departments: Iterable[int] = (),
        tags: Iterable[int] = (),
        to_everybody: bool = False,
        button: str | None = None,
        template_card: Mapping[str, Any] | None = None,
    ) -> list[str]:
        """Change an interactive card: the words on its button, or all of it (doc 94888). Returns whom it did not reach.

        response_code: of the message or of the press of its button; 72 h, once. So it is not repeated after a timeout.
        """
        code = arguments.text("response_code", response_code, max_bytes=512, is_needed=True)
        need_one_of(button=button, template_card=template_card)
        body = {
            "userids": arguments.identifiers("userids", userids, at_most=STAFF, at_least=0),
            "partyids": [arguments.department("departments", one) for one in departments],
            "tagids": [arguments.number("tags", one, lowest=0, highest=2**31 - 1) for one in tags],
            "atall": int(to_everybody),
            "agentid": agent_id(),
            "response_code": code,
            "button": None if button is None else {"replace_name": arguments.text("button", button, is_needed=True)},
            "template_card": None if template_card is None else dict(template_card),
        }
        answer = self._post(UPDATE_CARD, body, is_repeatable=False, hidden=(code,))
        failed = answer.get("invaliduser") or []
        return failed.split("|") if isinstance(failed, str) else list(failed)


def _content(kind: str, content: Mapping[str, Any] | str) -> dict[str, Any]:
    fields = {"content": content} if isinstance(content, str) else content
    if not isinstance(fields, Mapping) or not fields:
        fields = {"content": arguments.text("content", fields, is_needed=True)}
    if kind in ("text", "markdown"):
        arguments.text("content", fields.get("content"), max_bytes=TEXT_BYTES, is_needed=True)
    if kind == "textcard":
        for name, max_bytes in (("title", 128), ("description", 512), ("url", 2_048)):
            arguments.text(name, fields.get(name), max_bytes=max_bytes, is_needed=True)
    if kind == "news":
        articles = fields.get("articles")
        arguments.number("the number of articles", len(articles) if isinstance(articles, list) else 0, lowest=1,
                         highest=ARTICLES)  # fmt: skip
    return dict(fields)
