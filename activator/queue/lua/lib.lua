-- Shared by every script of the ledger. All keys carry the service's hash tag.
local K_OFFERS, K_HELD, K_GRANTS, K_QUEUE = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local K_DEADLINES, K_META, K_ACT, K_SUSPECTS = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local TICKETS, SERVICE, LEASE_MS = ARGV[1], ARGV[2], tonumber(ARGV[3])

local time = redis.call('TIME')
local NOW = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- pairs of a flat HGETALL or ZRANGE WITHSCORES answer
local function each(flat, fn)
  for i = 1, #flat, 2 do fn(flat[i], flat[i + 1]) end
end

-- "replica|activator" → replica, activator
local function split(field)
  local at = string.find(field, '|', 1, true)
  return string.sub(field, 1, at - 1), string.sub(field, at + 1)
end

local function forget_ticket(id)
  local bytes = redis.call('HGET', TICKETS .. id, 'bytes')
  -- 0 - x and not -x: minus zero is no integer to Redis
  if bytes then redis.call('HINCRBY', K_META, 'bytes', 0 - tonumber(bytes)) end
  redis.call('DEL', TICKETS .. id)
  redis.call('ZREM', K_QUEUE, id)
  redis.call('ZREM', K_DEADLINES, id)
end

-- An activator that has not been heard for a lease is dead: its slots return
-- and the tickets of its closed connections go. Not during the first lease
-- after nobody was heard at all (Redis was away): then silence proves nothing.
local function reap()
  local last = tonumber(redis.call('HGET', K_META, 'last')) or NOW
  if NOW - last > LEASE_MS / 2 then redis.call('HSET', K_META, 'grace', NOW + LEASE_MS) end
  redis.call('HSET', K_META, 'last', NOW)
  if NOW <= (tonumber(redis.call('HGET', K_META, 'grace')) or 0) then return end
  local dead, any = {}, false
  each(redis.call('HGETALL', K_ACT), function(activator, seen)
    if NOW - tonumber((split(seen))) > LEASE_MS then dead[activator] = true; any = true end
  end)
  if any then
    each(redis.call('HGETALL', K_HELD), function(field)
      local _, activator = split(field)
      if dead[activator] then redis.call('HDEL', K_HELD, field) end
    end)
    each(redis.call('HGETALL', K_GRANTS), function(ticket, value)
      local _, activator = split(value)
      if dead[activator] then redis.call('HDEL', K_GRANTS, ticket) end
    end)
    for _, id in ipairs(redis.call('ZRANGE', K_QUEUE, 0, -1)) do
      if dead[redis.call('HGET', TICKETS .. id, 'activator') or ''] then forget_ticket(id) end
    end
    for activator in pairs(dead) do redis.call('HDEL', K_ACT, activator) end
  end
  -- a ticket long past its deadline has lost its owner's withdrawal
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', K_DEADLINES, '-inf', NOW - LEASE_MS, 'LIMIT', 0, 100)) do
    forget_ticket(id)
  end
end

-- offers: replica → {slots, index, raw}; used: replica → slots out
local function load_slots()
  local offers, used = {}, {}
  each(redis.call('HGETALL', K_OFFERS), function(replica, raw)
    local offer = cjson.decode(raw)
    offers[replica] = { slots = offer.slots, index = offer.index, raw = raw }
  end)
  each(redis.call('HGETALL', K_HELD), function(field, value)
    local replica = split(field)
    used[replica] = (used[replica] or 0) + tonumber((split(value)))
  end)
  each(redis.call('HGETALL', K_GRANTS), function(_, value)
    local replica = split(value)
    used[replica] = (used[replica] or 0) + 1
  end)
  return offers, used
end

local function suspects()
  local out = {}
  each(redis.call('HGETALL', K_SUSPECTS), function(replica, till)
    if tonumber(till) > NOW then out[replica] = true else redis.call('HDEL', K_SUSPECTS, replica) end
  end)
  return out
end

-- The heart: hand free slots to the head of the queue, the least loaded replica
-- first, ties to the lowest index. Never more than offer.slots of a replica.
local function grant(offers, used, me)
  local bad, total = suspects(), 0
  for replica, offer in pairs(offers) do
    local free = offer.slots - (used[replica] or 0)
    if free > 0 and not bad[replica] then total = total + free end
  end
  if total == 0 then return 0 end
  local others = 0
  for _, id in ipairs(redis.call('ZRANGE', K_QUEUE, 0, total - 1)) do
    local owner = redis.call('HGET', TICKETS .. id, 'activator')
    if owner then
      local best, best_used, best_index
      for replica, offer in pairs(offers) do
        local u = used[replica] or 0
        if not bad[replica] and u < offer.slots and
            (not best or u < best_used or (u == best_used and offer.index < best_index)) then
          best, best_used, best_index = replica, u, offer.index
        end
      end
      if not best then break end
      forget_ticket(id)
      redis.call('HSET', K_GRANTS, id, best .. '|' .. owner)
      used[best] = (used[best] or 0) + 1
      if owner ~= me then others = others + 1 end
    else
      forget_ticket(id)
    end
  end
  return others
end

local function nudge(kind) redis.call('PUBLISH', 'pl:slots', kind .. ' ' .. SERVICE) end

local function power_of_two(n)
  while n > 1 do
    if n % 2 == 1 then return false end
    n = n / 2
  end
  return n == 1
end
