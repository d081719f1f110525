"""Who is in a customer group, as a table for the admin."""

from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

from customers.directory import addresses
from customers.organisation import organisation
from wxwork.models import CustomerGroup, GroupMember
from wxwork.vocabulary import JOIN_SCENES

SHOWN = 500


def members_table(group: CustomerGroup) -> SafeString | str:
    """Return the members, staff first, customers with a link. Database: two queries on the control database."""
    members = list(group.members.order_by("type", "joined_at")[:SHOWN])
    if not members:
        return "—"
    known = addresses([one.member_id for one in members if one.type == GroupMember.Type.CUSTOMER])
    rows = (
        (
            _name(one, known.get(one.member_id)),
            _kind(one, known.get(one.member_id)),
            f"{localtime(one.joined_at):%Y-%m-%d %H:%M}" if one.joined_at else "—",
            JOIN_SCENES.get(one.join_scene, "—"),
        )
        for one in members
    )
    lines = format_html_join("", "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>", rows)
    head = "<tr><th>成员</th><th>类型</th><th>入群时间</th><th>入群方式</th></tr>"
    return format_html('<table class="scrm-table"><thead>{}</thead><tbody>{}</tbody></table>', SafeString(head), lines)


def _kind(member: GroupMember, customer_id: int | None) -> str:
    if member.type == GroupMember.Type.STAFF:
        return "员工"
    return "客户" if customer_id is not None else "其他外部成员"


def _name(member: GroupMember, customer_id: int | None) -> SafeString | str:
    if member.type == GroupMember.Type.STAFF:
        return organisation().staff_names.get(member.member_id, member.member_id)
    shown = format_html('<span class="scrm-mono">{}</span>', member.member_id)
    if customer_id is None:
        return shown
    return format_html(
        '<a class="scrm-link" href="{}">{}</a>', reverse("admin:customers_customer_change", args=[customer_id]), shown
    )
