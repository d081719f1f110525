"""How the admin looks: names, colours and the side bar of django-unfold. Data only."""

UNFOLD = {
    "SITE_TITLE": "SCRM 客户管理",
    "SITE_HEADER": "SCRM 客户管理",
    "SITE_SYMBOL": "hub",
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
}
