"""The budget's steps as scripts: each is one step for all processes, by the server's clock.

Times are milliseconds, with fractions: two steps are never at the same.

key                              holds, for one API of one corp
wecom:budget:<corp>              set: the APIs that have been called lately
wecom:budget:<corp>:<api>        hash: m, h             when the buckets of the two rules are full again (wxwork.pacing)
                                       M<n>, H<n>       calls in the n-th five seconds, five minutes
                                       open_until, opened_at, why, strikes      the circuit
                                       cap, cut_at      how many at once since WeCom said that it was too many
wecom:budget:<corp>:<api>:now    sorted set: calls under way by when they are over at the latest
wecom:relation:<corp>:<digest>   who is writing on one (staff, customer)

A process that dies leaves nothing but a call under way, which ends by itself. A key that is lost (a full cache, a new
server) counts from nothing again: below half of WeCom's limits that is still within them.
"""

from scrm.cache.client import Script

MINUTE_SLICE_MS, HOUR_SLICE_MS = 5_000, 300_000
GO, PACED, OPEN, CROWDED, WRITING = range(5)

_HEAD = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + clock[2] / 1000
local function number(text) return tonumber(text) or 0 end
local function written(value) return string.format('%.3f', value) end
-- A time that is yet to come was written by the clock of another server.
local function past(text) return number(text) <= now and number(text) or 0 end
"""

_COUNT = f"""
local function used(state, letter, slice, slices)
    local sum, first = 0, math.floor(now / slice) - slices
    for i = 1, #state, 2 do
        local kind, index = string.match(state[i], '^(%u)(%d+)$')
        if kind == letter and tonumber(index) >= first then sum = sum + number(state[i + 1]) end
    end
    return sum
end
local function in_minute(state) return used(state, 'M', {MINUTE_SLICE_MS}, {60_000 // MINUTE_SLICE_MS}) end
local function in_hour(state) return used(state, 'H', {HOUR_SLICE_MS}, {3_600_000 // HOUR_SLICE_MS}) end
"""

_CAP = """
local function cap_now(at_once, cap, cut_at, grow_ms)
    if not cap then return at_once end
    return math.min(at_once, number(cap) + math.floor((now - past(cut_at)) / grow_ms))
end
"""

_OPEN = """
local function ms_open(open_until, opened_at)
    return past(opened_at) > 0 and math.max(0, number(open_until) - now) or 0
end
"""

# KEYS state, under way, relation, APIs
# ARGV api, lease, lease's ms, at once, minute's interval, burst, hour's interval, burst, is a write on a relation, grow
# Returns verdict, ms to wait, now.
ACQUIRE = Script(
    _HEAD
    + _CAP
    + _OPEN
    + f"""
local found = redis.call('HMGET', KEYS[1], 'open_until', 'strikes', 'cap', 'cut_at', 'm', 'h', 'opened_at')
local open_ms = ms_open(found[1], found[7])
if open_ms > 0 then return {{{OPEN}, math.ceil(open_ms), written(now)}} end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', written(now))
local cap = cap_now(tonumber(ARGV[4]), found[3], found[4], tonumber(ARGV[10]))
-- After a block one call goes first, to see whether it is over.
if number(found[2]) > 0 then cap = 1 end
if redis.call('ZCARD', KEYS[2]) >= cap then return {{{CROWDED}, 20, written(now)}} end
if ARGV[9] == '1' and redis.call('EXISTS', KEYS[3]) == 1 then return {{{WRITING}, 20, written(now)}} end
local wait, full = 0, {{}}
for i = 0, 1 do
    local interval, burst = tonumber(ARGV[5 + 2 * i]), tonumber(ARGV[6 + 2 * i])
    -- No further ahead than a full burst: the clock of another server may have been.
    local at = math.min(math.max(number(found[5 + i]), now), now + interval * burst)
    wait = math.max(wait, at - now - interval * (burst - 1))
    full[i] = at + interval
end
if wait > 0.5 then return {{{PACED}, math.ceil(wait), written(now)}} end
redis.call('HSET', KEYS[1], 'm', written(full[0]), 'h', written(full[1]))
local minute = math.floor(now / {MINUTE_SLICE_MS})
if redis.call('HINCRBY', KEYS[1], 'M' .. minute, 1) == 1 then
    local hour = math.floor(now / {HOUR_SLICE_MS})
    for _, name in ipairs(redis.call('HKEYS', KEYS[1])) do
        local kind, index = string.match(name, '^(%u)(%d+)$')
        local oldest = kind == 'M' and minute - 13 or hour - 13
        if kind and tonumber(index) < oldest then redis.call('HDEL', KEYS[1], name) end
    end
end
redis.call('HINCRBY', KEYS[1], 'H' .. math.floor(now / {HOUR_SLICE_MS}), 1)
redis.call('ZADD', KEYS[2], written(now + ARGV[3]), ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
if ARGV[9] == '1' then redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3]) end
redis.call('SADD', KEYS[4], ARGV[1])
redis.call('PEXPIRE', KEYS[4], 90000000)
if redis.call('PTTL', KEYS[1]) < 7200000 then redis.call('PEXPIRE', KEYS[1], 7200000) end
return {{{GO}, 0, written(now)}}
"""
)

# KEYS state, under way, relation
# ARGV lease, outcome, when it was acquired, block's ms, calls of an hour that must have been too many, ms until
# midnight, at once, grow
# outcome: ok, limited (45009), crowded (45033), lost (no answer). Returns the ms for which the circuit is open, why.
RELEASE = Script(
    _HEAD
    + _CAP
    + _OPEN
    + _COUNT
    + """
redis.call('ZREM', KEYS[2], ARGV[1])
if redis.call('GET', KEYS[3]) == ARGV[1] then redis.call('DEL', KEYS[3]) end
local acquired = tonumber(ARGV[3])
local found = redis.call('HMGET', KEYS[1], 'open_until', 'opened_at', 'strikes', 'why', 'cap', 'cut_at')
local opened_at, strikes = past(found[2]), number(found[3])
if ARGV[2] == 'ok' then
    if strikes > 0 and acquired > opened_at then redis.call('HDEL', KEYS[1], 'strikes', 'why', 'open_until') end
elseif ARGV[2] == 'limited' then
    -- Those that were under way when the first was told are the same blow.
    if acquired > opened_at or strikes == 0 then
        strikes = strikes + 1
        local block, why = tonumber(ARGV[4]), 'minute'
        if strikes >= 5 then
            block, why = math.max(tonumber(ARGV[6]), block * 60), 'day'
        elseif strikes >= 3 or in_hour(redis.call('HGETALL', KEYS[1])) >= tonumber(ARGV[5]) then
            block, why = block * 60, 'hour'
        end
        redis.call('HSET', KEYS[1], 'open_until', written(now + block), 'opened_at', written(now))
        redis.call('HSET', KEYS[1], 'strikes', strikes, 'why', why)
        redis.call('PEXPIRE', KEYS[1], math.max(7200000, math.ceil(block) + 3600000))
        return {math.ceil(block), why}
    end
    return {ms_open(found[1], found[2]), found[4] or 'minute'}
elseif ARGV[2] == 'crowded' and acquired > past(found[6]) then
    local cap = cap_now(tonumber(ARGV[7]), found[5], found[6], tonumber(ARGV[8]))
    redis.call('HSET', KEYS[1], 'cap', math.max(1, math.floor(cap / 2)), 'cut_at', written(now))
end
return {0, ''}
"""
)

# KEYS state, under way; ARGV at once, grow
# Returns calls of the last minute, of the last hour, under way, cap, ms open, why, ms until both buckets are full.
READ = Script(
    _HEAD
    + _CAP
    + _OPEN
    + _COUNT
    + """
local state = redis.call('HGETALL', KEYS[1])
local found = redis.call('HMGET', KEYS[1], 'open_until', 'why', 'cap', 'cut_at', 'm', 'h', 'opened_at')
local cap = cap_now(tonumber(ARGV[1]), found[3], found[4], tonumber(ARGV[2]))
return {
    in_minute(state), in_hour(state), redis.call('ZCOUNT', KEYS[2], written(now), '+inf'), cap,
    ms_open(found[1], found[7]), found[2] or '',
    math.ceil(math.max(0, number(found[5]) - now)), math.ceil(math.max(0, number(found[6]) - now)),
}
"""
)
