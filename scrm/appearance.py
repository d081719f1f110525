"""How the admin looks: names, colours and the side bar of django-unfold. Data only."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy

PRODUCT = "SCRM 客户管理"


def _may(*permissions: str) -> Callable[[HttpRequest], bool]:
    """Return what tells unfold whether to show an entry: to whoever has one of the permissions."""
    return lambda request: any(request.user.has_perm(permission) for permission in permissions)


def _entry(title: str, icon: str, model: str, page: str = "changelist") -> dict[str, Any]:
    """Return an entry of the side bar for a model's page, shown to whoever may view or change it."""
    app, name = model.split(".")
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{app}_{name}_{page}"),
        "permission": _may(f"{app}.view_{name}", f"{app}.change_{name}"),
    }


NAVIGATION = [
    {"items": [{"title": "首页", "icon": "space_dashboard", "link": reverse_lazy("admin:index")}]},
    {
        "title": "客户",
        "items": [
            _entry("全部客户", "groups", "customers.customer"),
            _entry("客户人群", "filter_alt", "profiles.segment"),
            {
                "title": "行动建议",
                "icon": "task_alt",
                "link": reverse_lazy("recommendations:work"),
                "permission": _may("profiles.view_recommendation"),
            },
            _entry("标签组", "category", "customers.taggroup"),
            _entry("标签", "sell", "customers.tag"),
        ],
    },
    {
        "title": "画像",
        "items": [
            _entry("画像规则", "rule", "profiles.ruleversion"),
            _entry("画像任务", "play_circle", "profiles.profilerun"),
            _entry("建议规则", "lightbulb", "profiles.recommendationrule"),
            _entry("商品搭配", "shopping_cart", "profiles.itemaffinity"),
            _entry("待认领行为", "hourglass_empty", "profiles.waitingbehaviour"),
        ],
    },
    {
        "title": "组织",
        "items": [
            _entry("部门", "account_tree", "customers.department"),
            _entry("员工", "badge", "customers.staff"),
        ],
    },
    {
        "title": "企业微信",
        "items": [
            _entry("回调消息", "inbox", "wxwork.callback"),
            _entry("客户群", "forum", "wxwork.customergroup"),
            _entry("欢迎语", "waving_hand", "wxwork.welcomemessage"),
            _entry("欢迎语发送", "outgoing_mail", "wxwork.welcomedelivery"),
            _entry("同步与对账", "sync", "wxwork.syncrun"),
            _entry("接口额度", "speed", "wxwork.apilimit"),
        ],
    },
    {
        "title": "数据与合规",
        "collapsible": True,
        "items": [
            _entry("归属库", "database", "sharding.home"),
            _entry("客户目录", "map", "customers.directoryentry"),
            _entry("数据导入", "upload_file", "customers.importprogress"),
            _entry("客户删除", "delete_forever", "customers.erasure"),
            _entry("审计日志", "policy", "customers.audit"),
        ],
    },
    {
        "title": "系统",
        "collapsible": True,
        "items": [
            _entry("API 密钥", "vpn_key", "api.apikey"),
            _entry("定时任务", "schedule", "django_celery_beat.periodictask"),
            _entry("后台用户", "person", "auth.user"),
            _entry("用户组", "group", "auth.group"),
        ],
    },
]

UNFOLD = {
    "SITE_TITLE": PRODUCT,
    "SITE_HEADER": PRODUCT,
    "SITE_SUBHEADER": "企业微信客户运营后台",
    "SITE_URL": None,
    "SITE_ICON": lambda request: static("scrm/icon.svg"),
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("scrm/icon.svg")}],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "6px",
    "STYLES": [lambda request: static("scrm/admin.css")],
    "SCRIPTS": [lambda request: static("scrm/admin.js")],
    "LOGIN": {"image": lambda request: static("scrm/login.svg")},
    "DASHBOARD_CALLBACK": "scrm.dashboard.dashboard",
    "COLORS": {
        "primary": {
            "50": "#eff5ff",
            "100": "#dbe8fe",
            "200": "#bfd6fe",
            "300": "#93bafd",
            "400": "#6096fa",
            "500": "#3b78f0",
            "600": "#1d5fd6",
            "700": "#1a4fb4",
            "800": "#1b4391",
            "900": "#1c3a74",
            "950": "#152447",
        },
    },
    "SIDEBAR": {"show_search": True, "show_all_applications": False, "navigation": NAVIGATION},
}
