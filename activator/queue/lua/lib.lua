-- Shared by every script. All keys carry the service's hash tag; those of one
-- ticket, answer, idempotency key or activator are made from the prefix.
-- ARGV of every script: 1 key prefix, 2 service, 3 lease ms, 4 generation of the
-- ledger that the caller has seen, 5 activator ('' for the scaler).
local K_OFFERS, K_HELD, K_GRANTS, K_QUEUE = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local K_DEADLINES, K_META, K_ACT, K_SUSPECTS = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local K_QUARANTINE, K_FENCED, K_ORPHANS = KEYS[9], KEYS[10], KEYS[11]
local P, SERVICE, LEASE_MS, SEEN, ME = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local function K_TICKET(id) return P .. 'ticket:' .. id end
local function K_ANSWER(id) return P .. 'answer:' .. id end
local function K_KEY(key) return P .. 'key:' .. key end
local function K_MINE(activator) return P .. 'mine:' .. activator end

local time = redis.call('TIME')
local NOW = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- A ticket's place is level * LEVEL + number: one sorted set holds all
-- priorities, the most urgent (level 0) first. Numbers are Redis' clock in 10 us
-- units, raised by one where two would be equal, so that a ledger which has lost
-- its last writes does not give them again. 9 * LEVEL + number < 2^53 until 2255.
local LEVEL = 9e14
local function digits(n) return string.format('%.0f', n) end -- tostring has 14 only
local function place(level, number) return digits(level * LEVEL + number) end
local function level_of(score) return math.floor(tonumber(score) / LEVEL) end

-- A ticket's field as a whole number. Another version, or somebody's hand, may have
-- written anything: one ticket must not stop the scripts of its service.
local function int(value, otherwise)
  local n = tonumber(value)
  if not n or n ~= math.floor(n) or math.abs(n) > 9e15 then return otherwise end
  return n
end
local KEEP_UNKNOWN = 12 * LEASE_MS -- of a ticket that does not say result.keep

-- pairs of a flat HGETALL or ZRANGE WITHSCORES answer
local function each(flat, fn)
  for i = 1, #flat, 2 do fn(flat[i], flat[i + 1]) end
end

-- "a|b|c" → a, b, c, …
local function split(text)
  local out = {}
  for part in string.gmatch(text, '([^|]*)|?') do out[#out + 1] = part end
  return unpack(out)
end

local function nudge(kind) redis.call('PUBLISH', 'pl:slots', kind .. ' ' .. SERVICE) end
local function tell(id) redis.call('PUBLISH', 'pl:answers', SERVICE .. ' ' .. id) end

-- out of the line of those who wait
local function dequeue(id)
  if redis.call('ZREM', K_QUEUE, id) == 1 then
    local bytes = int(redis.call('HGET', K_TICKET(id), 'bytes'), 0)
    -- 0 - x and not -x: minus zero is no integer to Redis
    redis.call('HINCRBY', K_META, 'bytes', 0 - bytes)
    if redis.call('ZCARD', K_QUEUE) == 0 then redis.call('HSET', K_META, 'bytes', 0) end -- whatever a ticket said
  end
  redis.call('ZREM', K_DEADLINES, id)
end

local function forget_ticket(id)
  dequeue(id)
  local owner = redis.call('HGET', K_TICKET(id), 'owner')
  if owner then redis.call('SREM', K_MINE(owner), id) end
  redis.call('DEL', K_TICKET(id))
end

-- into the line, at its place. A durable ticket ends at its deadline by itself;
-- of the others their activators take care, and a lease later nobody has.
local function enqueue(id, level, number, deadline, durable, bytes)
  redis.call('ZADD', K_QUEUE, place(level, number), id)
  redis.call('ZADD', K_DEADLINES, durable and deadline or deadline + LEASE_MS, id)
  redis.call('HINCRBY', K_META, 'bytes', bytes)
end

-- Final tickets weigh on Redis for as long as they are kept: those that are for
-- longer than a moment are counted, by the bytes that they take, in the order in
-- which they expire. What has expired is counted no more.
local K_KEPT, MOMENT_MS = P .. 'kept', 12 * LEASE_MS
local function uncount(member)
  redis.call('ZREM', K_KEPT, member)
  redis.call('HINCRBY', K_META, 'kept', 0 - tonumber(string.match(member, '|(%d+)$')))
end
local function count_kept(id, keep)
  local all = redis.call('PTTL', K_KEPT)
  if all < 0 then redis.call('HSET', K_META, 'kept', 0) end -- they expired together
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', K_KEPT, '-inf', NOW, 'LIMIT', 0, 20)) do uncount(member) end
  local size = 1024 + math.max(0, tonumber(redis.call('HGET', K_TICKET(id), 'size') or 0)) -- its keys, and its answer
  redis.call('ZADD', K_KEPT, NOW + keep, id .. '|' .. size)
  redis.call('HINCRBY', K_META, 'kept', size)
  redis.call('PEXPIRE', K_KEPT, math.max(all, keep))
end

-- room reports whether answers of at most so many bytes are kept. If there are
-- more, those that have been for ten minutes go before their time, the oldest first.
local function room(most)
  if redis.call('EXISTS', K_KEPT) == 0 or tonumber(redis.call('HGET', K_META, 'kept') or 0) <= most then return true end
  for _, member in ipairs(redis.call('ZRANGE', K_KEPT, 0, 19)) do
    local id = string.match(member, '^(.*)|%d+$')
    local t = redis.call('HMGET', K_TICKET(id), 'done', 'key')
    if t[1] and NOW - tonumber(t[1]) < 600000 then break end
    if t[2] and t[2] ~= '' and redis.call('GET', K_KEY(t[2])) == id then redis.call('DEL', K_KEY(t[2])) end
    redis.call('DEL', K_TICKET(id), K_ANSWER(id))
    uncount(member)
  end
  return tonumber(redis.call('HGET', K_META, 'kept') or 0) <= most
end

-- The final state of a durable ticket: written once. Its request is forgotten,
-- its answer kept for a while. What is not a replica's answer frees the key.
local function finish(id, state, reason, keep, free)
  local t = redis.call('HMGET', K_TICKET(id), 'owner', 'key', 'async')
  dequeue(id)
  if t[1] then redis.call('SREM', K_MINE(t[1]), id) end
  redis.call('HDEL', K_TICKET(id), 'body', 'header')
  redis.call('HSET', K_TICKET(id), 'state', state, 'reason', reason, 'done', NOW)
  if redis.call('HINCRBY', K_META, 'durable', -1) < 0 then redis.call('HSET', K_META, 'durable', 0) end
  if t[2] and t[2] ~= '' then
    if free then redis.call('DEL', K_KEY(t[2])) else redis.call('PEXPIRE', K_KEY(t[2]), keep) end
  end
  -- Of a freed key only those still connected ask; an async id is kept.
  if free and t[3] ~= '1' then keep = math.min(keep, MOMENT_MS) end
  redis.call('PEXPIRE', K_TICKET(id), keep)
  redis.call('PEXPIRE', K_ANSWER(id), keep)
  if keep > MOMENT_MS then count_kept(id, keep) end
  tell(id)
end
