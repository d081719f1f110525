"""The kinds of drift that a reconcile counts, in words, and those that WeCom's API cannot show. Data only.

Each counts what its name says: relations where follows are concerned, so that a customer whom two members had added
unheard is one customer_added and two follow_added, and one handed over is a follow_lost and a follow_added.
"""

DRIFT = {
    "customer_added": "漏收的新客户",
    "follow_added": "漏收的添加（跟进关系）",
    "follow_readded": "流失后重新添加",
    "follow_lost": "员工已删除或已移交的客户",
    "follow_staff_left": "离职员工待分配的客户",
    "follow_renamed": "员工账号变更后转入的客户",
    "customer_fields": "客户资料（昵称、头像等）",
    "remark": "客户备注",
    "description": "客户描述",
    "mobiles": "备注手机号",
    "tags": "客户标签",
    "source": "添加方式或渠道",
    "tag_group_added": "新增的标签组",
    "tag_group_changed": "改名或移动的标签组",
    "tag_group_deleted": "已删除的标签组",
    "tag_added": "新增的标签",
    "tag_changed": "改名或移动的标签",
    "tag_deleted": "已删除的标签",
    "staff_added": "新增的员工",
    "staff_changed": "变更的员工",
    "staff_left": "已离职的员工",
    "department_added": "新增的部门",
    "department_changed": "变更的部门",
    "department_removed": "已删除的部门",
    "group_changed": "客户群（成员、群名、群主等）",
}

# What no read shows: (what, in words; what to do about it).
NOT_SHOWN = {
    "missed_del_follow_user": "客户删除了员工，而回调没有收到：企业微信仍把这位客户列在员工名下，接口看不出来。",
    "personal_tags": "员工的个人标签：批量接口不返回，只有单个客户的回调会更新。",
    "ending_reason": "关系结束的原因：对账发现的一律记为员工删除，其中可能有在职继承。",
    "half_added": "客户已添加、员工尚未确认：确认之前接口不返回。",
    "changed_back": "两次对账之间改过又改回的备注、标签。",
}

COUNTS = {
    "departments": "部门",
    "staff": "员工",
    "tag_groups": "标签组",
    "library_tags": "标签",
    "members": "有客户的成员",
    "relations": "读取的跟进关系",
    "customers_created": "新建客户",
    "customers_updated": "更新客户",
    "customers_erased": "已按要求删除、不再同步的客户",
    "customers_refused": "无法写入的客户",
    "members_refused": "企业微信不提供其客户的成员",
    "interactions": "记录的互动",
    "groups": "客户群",
    # What a full sync has made and changed: nobody had failed to tell of it. customer_added is customers_created.
    **{name: words for name, words in DRIFT.items() if name != "customer_added"},
    "follow_added": "新建跟进关系",
    "customer_fields": "更新的客户资料（昵称、头像等）",
    "remark": "更新的客户备注",
    "description": "更新的客户描述",
    "mobiles": "更新的备注手机号",
    "tags": "更新的客户标签",
    "source": "更新的添加方式或渠道",
    "group_changed": "新建或更新的客户群",
}
