"""The admin of the WeCom link, part by part."""

from wxwork import admin_inbox, admin_limits  # noqa: F401 - they register themselves
