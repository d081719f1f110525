"""What a key may do. A key holds any number of these; an endpoint asks for one.

customers:read         look customers up, list and search them
customers:write        create and change customers
customers:erase        erase customers
behaviors:write        record behaviours
profiles:read          profiles, their reasons and history, summaries, runs
profiles:write         start profile runs
segments:write         create, change and delete segments, put customers into static ones
recommendations:write  accept and dismiss next best actions, and take that back
wxwork:jssdk           have pages signed for WeCom's JSSDK
pii:read               mobiles in clear
"""

CUSTOMERS_READ = "customers:read"
CUSTOMERS_WRITE = "customers:write"
CUSTOMERS_ERASE = "customers:erase"
BEHAVIORS_WRITE = "behaviors:write"
PROFILES_READ = "profiles:read"
PROFILES_WRITE = "profiles:write"
SEGMENTS_WRITE = "segments:write"
RECOMMENDATIONS_WRITE = "recommendations:write"
WXWORK_JSSDK = "wxwork:jssdk"
PII_READ = "pii:read"

SCOPES = {
    CUSTOMERS_READ: "查看客户",
    CUSTOMERS_WRITE: "新建和修改客户",
    CUSTOMERS_ERASE: "删除客户",
    BEHAVIORS_WRITE: "写入客户行为",
    PROFILES_READ: "查看客户画像",
    PROFILES_WRITE: "运行画像任务",
    SEGMENTS_WRITE: "新建和修改客户人群",
    RECOMMENDATIONS_WRITE: "采纳或忽略行动建议",
    WXWORK_JSSDK: "为企业微信侧边栏页面签名",
    PII_READ: "查看完整手机号",
}
# What a key may do unless it says otherwise. Reading mobiles in clear is asked for by name: each such read goes past
# the cache and into the audit.
DEFAULT_SCOPES = tuple(scope for scope in SCOPES if scope != PII_READ)
