"""Welcome messages for new customers (欢迎语), and templates for those who join a group. Docs 92137, 92366."""

from collections.abc import Iterable, Mapping
from typing import Any

from wxwork.client import arguments
from wxwork.client.calls import Calls, need_one_of

SEND = "/cgi-bin/externalcontact/send_welcome_msg"
GROUPS = "/cgi-bin/externalcontact/group_welcome_template"
TEXT_BYTES, GROUP_TEXT_BYTES = 4_000, 3_000
MEDIA = ("image", "link", "miniprogram", "file", "video")


class WelcomeCalls(Calls):
    def send_welcome(
        self, welcome_code: str, text: str = "", attachments: Iterable[Mapping[str, Any]] | None = None
    ) -> None:
        """Send what a new customer is greeted with; 20 s from the callback, once (doc 92137).

        text: 4 000 bytes; attachments: 9 at most (wxwork.client.arguments.attachments). Repeated where that helps: the
        code works once. BusinessError 41050: the code is over; 41051: greeted already. RetryError 41096: another
        application is just sending.
        """
        code = arguments.text("welcome_code", welcome_code, max_bytes=512, is_needed=True)
        files = arguments.attachments(attachments)
        need_one_of(text=text, attachments=files)
        content = arguments.text("text", text, max_bytes=TEXT_BYTES)
        body = {
            "welcome_code": code,
            "text": {"content": content} if content else None,
            "attachments": files or None,
        }
        self._post(SEND, body, hidden=(code,))

    def add_group_welcome(
        self, text: str = "", *, medium: Mapping[str, Any] | None = None, is_notifying: bool = True
    ) -> str:
        """Make a template and return its template_id; staff attach it to groups in the app (doc 92366).

        text: 3 000 bytes, %NICKNAME% is replaced. medium: {kind: {…}} with one of image, link, miniprogram, file,
        video. Not repeated after a timeout. BusinessError 41055: there are 100.
        """
        body = _template(text, medium) | {"notify": int(is_notifying)}
        return str(self._post(f"{GROUPS}/add", body, is_repeatable=False).get("template_id", ""))

    def edit_group_welcome(self, template_id: str, text: str = "", *, medium: Mapping[str, Any] | None = None) -> None:
        """Replace a template's contents. ConfigError 41058: another application made it."""
        self._post(f"{GROUPS}/edit", {"template_id": _template_id(template_id), **_template(text, medium)})

    def get_group_welcome(self, template_id: str) -> dict[str, Any]:
        """Return a template; an image comes back as its pic_url."""
        return self._post(f"{GROUPS}/get", {"template_id": _template_id(template_id)})

    def delete_group_welcome(self, template_id: str) -> None:
        """Delete a template."""
        self._post(f"{GROUPS}/del", {"template_id": _template_id(template_id)})


def _template_id(template_id: str) -> str:
    return arguments.identifier("template_id", template_id)


def _template(text: str, medium: Mapping[str, Any] | None) -> dict[str, Any]:
    content = arguments.text("text", text, max_bytes=GROUP_TEXT_BYTES)
    need_one_of(text=content, medium=medium)
    files: dict[str, Any] = {}
    for kind, inner in (medium or {}).items():
        arguments.choice("medium", kind, MEDIA)
        files |= arguments.attachments([{"msgtype": kind, kind: inner}])[0]
        files.pop("msgtype")
    arguments.number("the number of media", len(files), lowest=0, highest=1)
    return ({"text": {"content": content}} if content else {}) | files
