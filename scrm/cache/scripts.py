"""The three steps of a reader that must not be torn apart, as scripts. KEYS and ARGV are bytes, times milliseconds."""

from scrm.cache.client import Script

# KEYS value, guard; ARGV token, lease. Returns the value, or 1: leased to this token, or 0: leased to another.
# One step, because a reader that missed just before a fill would else take the lease just after it and load again.
# What is no string at the value's key is overwritten in the end. A guard that never expires is none of ours and would
# bar the key for good: it is taken.
FIND_OR_LEASE = Script("""
local value = redis.pcall('GET', KEYS[1])
if value and not (type(value) == 'table' and string.sub(value.err, 1, 9) == 'WRONGTYPE') then return value end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
if redis.call('PTTL', KEYS[2]) ~= -1 then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 1
""")

# KEYS value, guard; ARGV token, value, time to live. Returns 1, or 0: this token has the lease no more.
# pcall, so that a server without memory for the value still gets the lease back.
FILL = Script("""
if redis.pcall('GET', KEYS[2]) ~= ARGV[1] then return 0 end
local stored = redis.pcall('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[2])
if stored.err then return stored end
return 1
""")

# KEYS guard; ARGV token. Returns 1, or 0: this token has the lease no more.
RELEASE = Script("""
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
""")
