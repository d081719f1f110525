"""What operators see of calls to WeCom. A path stands for an API: `/cgi-bin/user/get`.

code: WeCom's errcode (`unknown`: not in wxwork.codes), or what came instead of an answer: unreachable, timeout, broken,
http_502, unreadable.
"""

from prometheus_client import Counter, Gauge, Histogram

# Of all processes, kept in Redis (wxwork.tally).
CALLS = Gauge("scrm_wecom_calls_total", "Calls to WeCom's API by what was answered.", ["api", "code"],
              multiprocess_mode="mostrecent")  # fmt: skip
SECONDS = Histogram(
    "scrm_wecom_call_seconds",
    "How long WeCom took to answer.",
    ["api"],
    buckets=(0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
TOKENS = Counter("scrm_wecom_grants", "Tokens and tickets asked of WeCom by what came of it.", ["kind", "outcome"])
REFUSED = Counter("scrm_wecom_calls_held_back", "Calls that the budget had no room for in time.", ["api"])
WAITED = Counter("scrm_wecom_waited_seconds", "How long calls waited for the budget.", ["api"])

# Asked of Redis for each /metrics (wxwork.budget.show_in_metrics).
LEFT = Gauge("scrm_wecom_budget_left", "Calls that this installation may still make.", ["api", "window"],
             multiprocess_mode="mostrecent")  # fmt: skip
USED = Gauge("scrm_wecom_budget_used", "Calls made in the last minute, hour.", ["api", "window"],
             multiprocess_mode="mostrecent")  # fmt: skip
NEXT_FREE = Gauge("scrm_wecom_next_free_seconds", "How long a call would wait now: 0 while there is room.", ["api"],
                  multiprocess_mode="mostrecent")  # fmt: skip
CIRCUIT = Gauge("scrm_wecom_circuit_open", "1 while WeCom takes no calls of this API (45009).", ["api"],
                multiprocess_mode="mostrecent")  # fmt: skip
BREAKER = Gauge("scrm_wecom_credentials_refused", "1 while nothing is asked with refused credentials.", ["credential"],
                multiprocess_mode="mostrecent")  # fmt: skip
