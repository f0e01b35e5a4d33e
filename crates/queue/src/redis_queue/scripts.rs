//! What Redis does in one step: the Lua scripts.
//!
//! A script sees nothing of what others do meanwhile and is done wholly or not at all, also in the append-only file and on
//! replicas. All keys are passed as keys.

/// A script by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Script {
    Append,
    Last,
    Advance,
    Bury,
    Revive,
    ListDead,
    Charge,
    TakePlace,
}

impl Script {
    pub(crate) const ALL: [Self; 8] = [
        Self::Append,
        Self::Last,
        Self::Advance,
        Self::Bury,
        Self::Revive,
        Self::ListDead,
        Self::Charge,
        Self::TakePlace,
    ];

    /// Its text.
    pub(crate) fn text(self) -> String {
        let own = match self {
            Self::Append => APPEND,
            Self::Last => LAST,
            Self::Advance => ADVANCE,
            Self::Bury => BURY,
            Self::Revive => REVIVE,
            Self::ListDead => LIST_DEAD,
            Self::Charge => CHARGE,
            Self::TakePlace => TAKE_PLACE,
        };
        format!("{COMMON}{own}")
    }
}

/// Functions that several scripts use.
const COMMON: &str = r"
-- Adds an entry, with where it belongs in a trace unless that is ''. Ids are packed into 64 bits, 20 of them for the number within a millisecond: an id beyond that
-- (more than a million entries while the clock stands, or stands back) is taken back, and the next millisecond begins.
local function add(stream, payload, trace)
    local fields = {'p', payload}
    if trace ~= '' then fields = {'p', payload, 't', trace} end
    local id = redis.call('XADD', stream, '*', unpack(fields))
    local ms, number = string.match(id, '^(%d+)%-(%d+)$')
    if tonumber(number) >= 1048576 then
        redis.call('XDEL', stream, id)
        id = redis.call('XADD', stream, string.format('%.0f-0', tonumber(ms) + 1), unpack(fields))
    end
    return id
end

-- The id of the last entry that was ever added.
local function last(stream)
    if redis.call('EXISTS', stream) == 0 then return '0-0' end
    local info = redis.call('XINFO', 'STREAM', stream)
    for i = 1, #info, 2 do
        if info[i] == 'last-generated-id' then return info[i + 1] end
    end
end

-- Whether an id comes before another.
local function before(left, right)
    local left_ms, left_number = string.match(left, '^(%d+)%-(%d+)$')
    local right_ms, right_number = string.match(right, '^(%d+)%-(%d+)$')
    left_ms, right_ms = tonumber(left_ms), tonumber(right_ms)
    return left_ms < right_ms
        or (left_ms == right_ms and tonumber(left_number) < tonumber(right_number))
end

-- Milliseconds since 1970.
local function now_ms()
    local time = redis.call('TIME')
    return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
";

/// Keys: stream, request. Arguments: payload, token, fingerprint, answer, when to forget the request (ms), deadline (ms), bound of
/// entries. The request's value is token (16 bytes), fingerprint (16 bytes), id, a space, answer.
const APPEND: &str = r"
local stream, request = KEYS[1], KEYS[2]
local payload, token, fingerprint, answer = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local forget_at, deadline, entries_max = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
local known = redis.call('GET', request)
if known then
    -- Written again with the time that it has left, so that this connection has a write that WAIT can wait for.
    redis.call('PEXPIRE', request, redis.call('PTTL', request))
    local space = string.find(known, ' ', 33, true)
    -- An earlier try of this very append came through.
    if string.sub(known, 1, 16) == token then return {'new', string.sub(known, 33, space - 1)} end
    if string.sub(known, 17, 32) ~= fingerprint then return {'reused'} end
    return {'replayed', string.sub(known, space + 1)}
end
-- A try that lay in a buffer while Redis stood still comes when its producer has given up, and maybe when the try that
-- came through is forgotten already.
if now_ms() > deadline then return {'late'} end
local entries = redis.call('XLEN', stream)
if entries >= entries_max then return {'full', tostring(entries)} end
local id = add(stream, payload, ARGV[8])
redis.call('SET', request, token .. fingerprint .. id .. ' ' .. answer, 'PXAT', forget_at)
return {'new', id}
";

/// Keys: stream. The last id, '0-0' without any.
const LAST: &str = "return last(KEYS[1])\n";

/// Keys: stream. Arguments: an id. From now on new ids are behind it. Returns the entries that the stream holds if it was
/// behind, -1 if it was not.
const ADVANCE: &str = r"
local stream, id = KEYS[1], ARGV[1]
if not before(last(stream), id) then return -1 end
local entries = redis.call('XLEN', stream)
if redis.call('EXISTS', stream) == 0 then
    redis.call('XADD', stream, id, 'p', '')
    redis.call('XDEL', stream, id)
else
    redis.call('XSETID', stream, id)
end
return entries
";

/// Keys: stream, dead letters. Arguments: id, payload, partition, sequence, tenant, reason, bound of dead letters.
/// An entry that the stream once had and has no more was moved by another try or another worker.
const BURY: &str = r"
local stream, dead = KEYS[1], KEYS[2]
local id, payload, partition, sequence, tenant, reason = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local there = #redis.call('XRANGE', stream, id, id) > 0
if not there and not before(last(stream), id) then return {'gone'} end
if redis.call('XLEN', dead) >= tonumber(ARGV[7]) then return {'full'} end
local at = string.format('%.0f', now_ms())
redis.call('XADD', dead, '*', 'p', payload, 'partition', partition, 'sequence', sequence, 'tenant', tenant,
    'reason', reason, 'at', at)
if there then redis.call('XDEL', stream, id) end
return {'moved'}
";

/// Keys: stream, dead letters, retried. Arguments: the dead letter's id, how long to remember (ms).
const REVIVE: &str = r"
local stream, dead, retried = KEYS[1], KEYS[2], KEYS[3]
local id, remember_ms = ARGV[1], ARGV[2]
local known = redis.call('GET', retried)
if known then return known end
local found = redis.call('XRANGE', dead, id, id)
if #found == 0 then return false end
local fields = found[1][2]
local payload = ''
for i = 1, #fields, 2 do
    if fields[i] == 'p' then payload = fields[i + 1] end
end
local new = add(stream, payload, '')
redis.call('XDEL', dead, id)
redis.call('SET', retried, new, 'PX', remember_ms)
return new
";

/// Keys: dead letters. Arguments: the id to begin behind, bound. The letters with the payload's length in its place.
const LIST_DEAD: &str = r"
local entries = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[2])
for _, entry in ipairs(entries) do
    local fields = entry[2]
    for i = 1, #fields, 2 do
        if fields[i] == 'p' then fields[i + 1] = tostring(#fields[i + 1]) end
    end
end
return entries
";

/// Keys: buckets. Arguments: burst, deepest debt, then what to take from each, all in milliseconds of the bucket's rate.
/// Returns what is left in each. A bucket is its level and when it was that; a full one needs no key.
const CHARGE: &str = r"
local burst, debt, now = tonumber(ARGV[1]), tonumber(ARGV[2]), now_ms()
local left = {}
for i, key in ipairs(KEYS) do
    local level = burst
    local known = redis.call('GET', key)
    if known then
        local was, at = string.match(known, '^(%S+) (%S+)$')
        level = math.min(tonumber(was) + math.max(now - tonumber(at), 0), burst)
    end
    level = math.max(level - tonumber(ARGV[2 + i]), -debt)
    if level < burst then
        local full_in = string.format('%.0f', math.ceil(burst - level))
        redis.call('SET', key, string.format('%.3f %.0f', level, now), 'PX', full_in)
    end
    left[i] = string.format('%.3f', level)
end
return left
";

/// Keys: places. Arguments: whose place, how many there are, for how long (ms) it is held at most.
const TAKE_PLACE: &str = r"
local places, now = KEYS[1], now_ms()
redis.call('ZREMRANGEBYSCORE', places, '-inf', string.format('%.0f', now))
if redis.call('ZCARD', places) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', places, string.format('%.0f', now + tonumber(ARGV[3])), ARGV[1])
redis.call('PEXPIRE', places, ARGV[3])
return 1
";
