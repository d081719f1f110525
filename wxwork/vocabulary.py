"""What WeCom's kinds of callbacks and codes are called in the admin. Data only."""

EVENTS = {
    "change_external_contact": "客户",
    "change_external_chat": "客户群",
    "change_external_tag": "客户标签",
    "change_contact": "通讯录",
    "customer_acquisition": "获客助手",
    "message": "消息",
    "unreadable": "无法解析",
}
KINDS = {
    ("change_external_contact", "add_external_contact"): "添加客户",
    ("change_external_contact", "add_half_external_contact"): "客户免验证添加员工",
    ("change_external_contact", "edit_external_contact"): "修改客户备注或标签",
    ("change_external_contact", "del_external_contact"): "员工删除客户",
    ("change_external_contact", "del_follow_user"): "客户删除员工",
    ("change_external_contact", "transfer_fail"): "客户接替失败",
    ("change_external_contact", "msg_audit_approved"): "客户同意会话存档",
    ("change_external_chat", "create"): "客户群创建",
    ("change_external_chat", "update"): "客户群变更",
    ("change_external_chat", "dismiss"): "客户群解散",
    ("change_external_tag", "create"): "标签创建",
    ("change_external_tag", "update"): "标签变更",
    ("change_external_tag", "delete"): "标签删除",
    ("change_external_tag", "shuffle"): "标签重排",
    ("change_contact", "create_user"): "新增员工",
    ("change_contact", "update_user"): "更新员工",
    ("change_contact", "delete_user"): "删除员工",
    ("change_contact", "create_party"): "新增部门",
    ("change_contact", "update_party"): "更新部门",
    ("change_contact", "delete_party"): "删除部门",
    ("change_contact", "update_tag"): "员工标签变更",
    ("customer_acquisition", "friend_request"): "获客链接：申请添加",
    ("customer_acquisition", "customer_start_chat"): "获客链接：客户开口",
    ("customer_acquisition", "message_from_customer"): "获客链接：客户消息",
    ("customer_acquisition", "del_follow_user"): "获客链接：客户删除员工",
    ("customer_acquisition", "balance_low"): "获客额度即将耗尽",
    ("customer_acquisition", "balance_exhausted"): "获客额度耗尽",
    ("customer_acquisition", "balance_increased"): "获客额度恢复",
    ("customer_acquisition", "quota_expire_soon"): "获客额度即将过期",
    ("customer_acquisition", "link_unavailable"): "获客链接失效",
    ("customer_acquisition", "delete_link"): "获客链接删除",
    ("customer_acquisition", "open_profile"): "获客链接：打开资料页",
}
# join_scene of a member (contract §4.H).
JOIN_SCENES = {1: "员工邀请", 2: "邀请链接", 3: "扫描群二维码"}


def kind_name(event: str, change_type: str) -> str:
    """Return what a kind is called; one that nobody knows, by WeCom's own words.

    >>> kind_name("change_external_chat", "dismiss"), kind_name("brand_new", "thing"), kind_name("click", "")
    ('客户群解散', 'brand_new / thing', 'click')
    """
    if name := KINDS.get((event, change_type)):
        return name
    return " / ".join(part for part in (EVENTS.get(event, event), change_type) if part)
