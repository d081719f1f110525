"""The admin of the WeCom link, part by part."""

from wxwork import admin_limits  # noqa: F401 - registers itself
