"""What WeCom's error codes mean, and of what class each is. Data only.

class      what it means for whoever called                                             error (wxwork.errors)
RETRY      back off with jitter, at most three tries                                    RetryError
REFRESH    the token is not good any more: fetch another, once                          TokenRefusedError
WAIT       this API takes no more calls for a while                                     LimitedError
LATER      not an error: ask again in 30 s to 10 min                                    LaterError
MEDIA      upload the file again, once                                                  MediaError
CONFIG     nothing helps until somebody changes settings or WeCom's console             ConfigError
DATA       this object is not there, or not valid: mark it, read it anew                DataError
BUSINESS   an outcome to store and to show                                              BusinessError
BUG        our request is wrong                                                         BugError
USER       the person must log in again                                                 LoginError

Source: WeCom's global table (doc 90313) and the pages of each endpoint, read 2026-11.
"""

from typing import NamedTuple

RETRY, REFRESH, WAIT, LATER, MEDIA = "RETRY", "REFRESH", "WAIT", "LATER", "MEDIA"
CONFIG, DATA, BUSINESS, BUG, USER = "CONFIG", "DATA", "BUSINESS", "BUG", "USER"


class Code(NamedTuple):
    """One error code. action: what to do about it."""

    kind: str
    meaning: str
    action: str


CODES: dict[int, Code] = {
    -1: Code(RETRY, "system busy", "back off 0.5/1/2 s + jitter, at most 3 tries"),
    6000: Code(RETRY, "data version conflict", "back off; serialise writers"),
    40001: Code(
        CONFIG,
        "bad secret, secret not of this corp, or app disabled",
        "gettoken: stop, never loop (IP ban); elsewhere one forced refresh, then alert",
    ),
    40003: Code(
        DATA,
        "invalid userid (length, charset, not in contacts, left)",
        "mark member stale, resync contacts, do not retry",
    ),
    40004: Code(DATA, "bad media type", "fix file"),
    40005: Code(BUG, "bad type parameter", "fix call"),
    40006: Code(DATA, "bad file size", "resize"),
    40007: Code(
        MEDIA,
        "bad or expired media_id, or wrong upload API",
        "re-upload (3-day life; moments need upload_attachment), retry once",
    ),
    40008: Code(BUG, "bad msgtype", "fix call"),
    40013: Code(CONFIG, "bad corpid", "alert"),
    40014: Code(REFRESH, "invalid access_token", "refresh under lock, retry once; a second 40014 = CONFIG"),
    40029: Code(USER, "bad oauth code (used, >5 min)", "restart login"),
    40032: Code(BUG, "userid list too long", "chunk"),
    40033: Code(BUG, "request contains escaped (backslash-u) characters", "send raw UTF-8 JSON"),
    40035: Code(BUG, "bad parameter (array vs string, >1000)", "fix call"),
    40056: Code(CONFIG, "bad agentid", "fix settings"),
    40057: Code(CONFIG, "callback URL verification failed (console)", "fix callback endpoint"),
    40058: Code(BUG, "bad parameter: JSON, length, list size, empty required", "log request shape, no retry"),
    40063: Code(BUG, "required parameter empty / wrong content type", "fix call"),
    40068: Code(DATA, "tag or tag-group id invalid/unknown", "resync tag library, drop id"),
    40070: Code(DATA, "all given tag members invalid", "resync"),
    40071: Code(BUSINESS, "tag name exists", "look the tag up and reuse"),
    40073: Code(DATA, "bad openid", "drop"),
    40093: Code(CONFIG, "jsapi signature wrong", "check ticket kind, url, timestamp in seconds"),
    40096: Code(
        DATA, "invalid external_userid (other corp/ISV id, follower not visible)", "mark relation invalid, resync"
    ),
    40097: Code(BUSINESS, "handover member has not left", "record"),
    40098: Code(BUSINESS, "member not real-name verified", "tell admin"),
    40099: Code(BUSINESS, "member's customer cap reached", "choose other taker"),
    40100: Code(BUSINESS, "already being transferred", "record, poll transfer_result"),
    40128: Code(BUSINESS, "transferred twice within 90 days", "record"),
    41001: Code(BUG, "access_token missing (must be in URL)", "fix client"),
    41002: Code(CONFIG, "corpid missing", "fix settings"),
    41004: Code(CONFIG, "secret missing", "fix settings"),
    41009: Code(BUG, "userid missing", "fix call"),
    41017: Code(BUG, "tagid missing", "fix call"),
    41035: Code(BUG, "external_userid missing", "fix call"),
    41037: Code(BUG, "contact way: type missing", "fix call"),
    41038: Code(BUG, "contact way: scene missing", "fix call"),
    41039: Code(BUG, "contact way: bad type", "fix call"),
    41040: Code(BUG, "contact way: bad scene", "fix call"),
    41041: Code(BUSINESS, "contact way: more than 100 members", "split"),
    41042: Code(BUG, "contact way: bad style", "fix call"),
    41043: Code(BUG, "contact way: config_id missing", "fix call"),
    41044: Code(DATA, "contact way: unknown config_id", "mark deleted locally"),
    41045: Code(BUSINESS, "contact way quota reached", "delete unused ways"),
    41046: Code(BUG, "mass message id missing", "fix call"),
    41047: Code(DATA, "mass message id invalid", "drop"),
    41048: Code(BUSINESS, "no sendable customer", "record empty audience"),
    41049: Code(BUG, "welcome code missing", "fix call"),
    41050: Code(BUSINESS, "welcome code invalid/expired/consumed", "give up at once; count the latency metric"),
    41051: Code(BUSINESS, "already chatting / welcome sent", "treat as done, no retry"),
    41052: Code(BUG, "bad send time", "fix call"),
    41053: Code(BUSINESS, "customer did not accept archiving", "record"),
    41054: Code(BUSINESS, "member not activated/verified", "drop member, tell admin"),
    41055: Code(BUSINESS, "group-welcome template quota (100)", "delete old"),
    41056: Code(DATA, "wrong external id type", "check id owner"),
    41057: Code(CONFIG, "no WeChat developer account bound", "bind"),
    41058: Code(CONFIG, "not the template's owner", "use creating app"),
    41059: Code(BUG, "moment_id missing", "fix call"),
    41060: Code(DATA, "bad moment_id", "drop"),
    41061: Code(DATA, "moment not published by this member", "drop"),
    41062: Code(LATER, "member has not published yet", "poll in minutes"),
    41063: Code(LATER, "mass message still being dispatched", "poll after 30–60 s"),
    41064: Code(BUG, "too many attachments", "≤9"),
    41065: Code(BUG, "bad attachment type", "fix call"),
    41067: Code(DATA, "wrong moment kind for this API", "drop"),
    41068: Code(BUSINESS, "sensitive-word list too long", "split"),
    41069: Code(BUSINESS, "too many rules (100)", "merge"),
    41070: Code(DATA, "bad rule id", "drop"),
    41071: Code(DATA, "rule already deleted", "drop"),
    41072: Code(MEDIA, "attachment used in the wrong scene", "upload with right attachment_type"),
    41073: Code(DATA, "bad product description", "fix"),
    41074: Code(DATA, "product deleted", "drop"),
    41075: Code(DATA, "unknown product", "drop"),
    41076: Code(BUSINESS, "rule range too large", "use departments"),
    41077: Code(BUSINESS, "rule name not unique", "rename"),
    41078: Code(LATER, "too many running moment jobs", "queue"),
    41079: Code(LATER, "moment being dispatched", "poll"),
    41080: Code(DATA, "attachment too large", "resize"),
    41081: Code(DATA, "image resolution too large", "resize"),
    41082: Code(DATA, "video too long", "cut"),
    41083: Code(DATA, "bad sensitive word", "fix"),
    41084: Code(BUG, "bad semantics rule", "fix call"),
    41085: Code(DATA, "bad product code", "fix"),
    41086: Code(DATA, "bad price", "fix"),
    41087: Code(DATA, "bad product text", "fix"),
    41088: Code(BUG, "attachments empty", "fix call"),
    41089: Code(BUG, "moment needs text or attachment", "fix call"),
    41090: Code(DATA, "bad video", "mp4"),
    41091: Code(BUG, "join way links more than 5 groups", "≤5"),
    41093: Code(BUSINESS, "mass task already cancelled", "mark cancelled"),
    41094: Code(BUSINESS, "reminder limit (3 per 24 h)", "disable button"),
    41095: Code(BUSINESS, "acquisition-link quota", "delete unused"),
    41096: Code(RETRY, "welcome message being sent by another app", "retry within the 20 s window"),
    42001: Code(REFRESH, "access_token expired", "as 40014"),
    42003: Code(USER, "code expired", "restart login"),
    42009: Code(REFRESH, "suite_access_token expired (ISV)", "refresh suite token"),
    42012: Code(CONFIG, "jsapi_ticket unusable", "use the agent ticket for agentConfig"),
    44001: Code(BUG, "empty file", "fix upload"),
    44004: Code(BUG, "text content empty", "fix call"),
    45001: Code(DATA, "media too large", "resize"),
    45002: Code(BUG, "content too long", "trim by BYTES"),
    45008: Code(BUG, "too many articles", "≤8"),
    45009: Code(
        WAIT,
        "API frequency limit",
        "wait: 60 s for minute limits, 60 min for hour limits, until midnight for day limits",
    ),
    45024: Code(CONFIG, "account cap", "alert"),
    45029: Code(BUG, "answer too large", "narrow the query"),
    45033: Code(RETRY, "concurrency limit per corp and API", "back off with jitter and lower parallelism"),
    45035: Code(RETRY, "concurrent write conflict on the same relation", "serialise per (member, customer), back off"),
    46004: Code(DATA, "user not found", "drop"),
    48001: Code(CONFIG, "API function not authorised", "alert"),
    48002: Code(CONFIG, "API forbidden for this token", "add the app to 可调用接口的应用 / use right secret"),
    48005: Code(BUG, "API retired", "migrate"),
    48006: Code(CONFIG, "permission withdrawn (unused app)", "admin re-enables"),
    48009: Code(CONFIG, "sync secret may not read details from a new IP", "use self-built app token"),
    49008: Code(DATA, "group dissolved", "mark dismissed"),
    50001: Code(CONFIG, "redirect domain not trusted / wrong app for code", "fix domain"),
    50002: Code(CONFIG, "member out of scope", "visible range"),
    50003: Code(CONFIG, "app disabled", "alert"),
    60003: Code(DATA, "department unknown", "resync"),
    60011: Code(CONFIG, "no privilege on member/department/tag", "visible range / ownership"),
    60020: Code(CONFIG, "source IP not trusted", "add IP to 企业可信IP; effective after about a minute"),
    60021: Code(CONFIG, "userid outside visible range", "visible range"),
    60111: Code(DATA, "userid unknown", "mark member left, resync"),
    60123: Code(DATA, "bad department id", "resync"),
    81011: Code(CONFIG, "no right to edit tag", "use creating app"),
    81013: Code(DATA, "all recipients invalid", "drop recipients"),
    81014: Code(BUG, "too many in one tag call", "chunk"),
    81017: Code(BUG, "too many results requested", "add owner_filter"),
    82001: Code(BUG, "members/departments/tags all empty", "fix call"),
    84014: Code(USER, "user_ticket expired", "login again"),
    84015: Code(USER, "user_ticket invalid", "login again"),
    84061: Code(
        DATA,
        "no relation (member deleted the customer, or only half-added)",
        "mark the relation deleted; on list = no customers",
    ),
    84074: Code(CONFIG, "member has no external-contact permission", "drop from follow users"),
    86001: Code(DATA, "chatid invalid (app chats)", "drop"),
    86003: Code(DATA, "chatid does not exist (app chats)", "drop"),
    90500: Code(BUSINESS, "owner has not left", "use onjob_transfer"),
    90501: Code(DATA, "not a customer group", "drop"),
    90502: Code(BUSINESS, "owner already left", "use transfer"),
    90503: Code(BUSINESS, "group full / 99 WeChat members: needs client confirmation", "tell admin"),
    90504: Code(BUSINESS, "owner unchanged", "treat as done"),
    90507: Code(LATER, "inheritance in progress", "poll"),
    90508: Code(BUSINESS, "already inherited", "treat as done"),
    90509: Code(DATA, "not a WeCom customer group", "drop"),
    90511: Code(DATA, "opengid unknown", "drop"),
    93000: Code(CONFIG, "webhook invalid / robot removed", "disable webhook"),
    301002: Code(CONFIG, "token belongs to another agentid", "fix settings"),
    701008: Code(CONFIG, "no interconnect licence for all users", "buy/activate licences"),
}
