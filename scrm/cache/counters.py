"""What operators see of the cache. docs/read-through.md says what to make of the numbers.

A cache is named by its prefix without the colon: `wxwork_customer`.
"""

from prometheus_client import Counter, Gauge

READS = Counter("scrm_cache_reads", "Reads by where the answer came from.", ["cache", "source"])
LOADS = Counter("scrm_cache_loads", "Loads from the databases by what became of them.", ["cache", "outcome"])
DROPPED_KEYS = Counter("scrm_cache_dropped_keys", "Keys that writers deleted, or could not.", ["cache", "outcome"])
ERRORS = Counter("scrm_cache_errors", "Commands that failed.", ["kind"])
BREAKER_OPEN = Gauge("scrm_cache_breaker_open", "1 while this process asks Redis nothing.", multiprocess_mode="livemax")

SOURCES = ("hit", "miss", "negative", "bypass")
# filled; refused: the lease was lost meanwhile; unfillable: the row was in flight; unleased: without the cache; failed
OUTCOMES = ("filled", "refused", "unfillable", "unleased", "failed")
