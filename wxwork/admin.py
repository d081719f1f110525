"""The admin of the WeCom link, part by part."""

from wxwork import admin_inbox, admin_limits, admin_sync  # noqa: F401 - they register themselves
