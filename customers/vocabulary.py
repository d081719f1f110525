"""The words that WeCom's numbers, and our codes, stand for. Source: 企业微信开发文档「获取客户详情」, `add_way`."""

LOST_BY = {
    "staff": "员工删除",
    "customer": "客户删除",
    "both": "双方删除",
    "transfer": "在职继承",
    "staff_left": "员工离职",
}
ADD_WAYS = {
    0: "未知来源",
    1: "扫描二维码",
    2: "搜索手机号",
    3: "名片分享",
    4: "群聊",
    5: "手机通讯录",
    6: "微信联系人",
    8: "安装第三方应用时自动添加的客服人员",
    9: "搜索邮箱",
    10: "视频号添加",
    11: "日程参与人",
    12: "会议参与人",
    13: "添加微信好友对应的企业微信",
    14: "智慧硬件专属客服",
    15: "上门服务客服",
    16: "获客链接",
    17: "定制开发",
    18: "需求回复",
    21: "第三方售前客服",
    22: "可能的商务伙伴",
    24: "接受微信账号收到的好友申请",
    201: "内部成员共享",
    202: "管理员或负责人分配",
}


def add_way_name(number: int) -> str:
    """Return how a customer was added, in 中文.

    >>> add_way_name(1), add_way_name(99)
    ('扫描二维码', '其他方式（99）')
    """
    return ADD_WAYS.get(number, f"其他方式（{number}）")


def lost_by_name(code: str) -> str:
    """Return why a follow has ended, in 中文; empty if that is not known.

    >>> lost_by_name("customer"), lost_by_name("")
    ('客户删除', '')
    """
    return LOST_BY.get(code, code)
