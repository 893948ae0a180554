-- hold: accept a ticket, or say that the queue is full. Idempotent by ticket id.
-- ARGV 4 activator, 5 ticket, 6 deadline ms, 7 bytes, 8 max requests, 9 max
-- bytes, 10 sequence number to keep (0: a new one), 11… field, value of the ticket
local me, id = ARGV[4], ARGV[5]
reap()
local offers, used = load_slots()
local ready = 0
for _, offer in pairs(offers) do if offer.slots > 0 then ready = ready + 1 end end

local granted = redis.call('HGET', K_GRANTS, id)
local function answer_granted(seq)
  return { 'granted', ready, seq, 0, offers[(split(granted))].raw }
end
if granted then
  if offers[(split(granted))] then return answer_granted(0) end
  redis.call('HDEL', K_GRANTS, id) -- its replica is gone: back into the queue
end

local seq = tonumber(redis.call('ZSCORE', K_QUEUE, id) or 0)
if seq == 0 then
  local held = redis.call('ZCARD', K_QUEUE)
  local bytes = tonumber(redis.call('HGET', K_META, 'bytes') or 0)
  -- what has its place already, and is tried again, is never refused
  local again = tonumber(ARGV[10]) > 0
  if not again and (held >= tonumber(ARGV[8]) or bytes + tonumber(ARGV[7]) > tonumber(ARGV[9])) then
    return { 'full', ready, held, bytes, '' }
  end
  seq = tonumber(ARGV[10])
  if seq == 0 then seq = redis.call('HINCRBY', K_META, 'seq', 1) end
  redis.call('ZADD', K_QUEUE, seq, id)
  redis.call('ZADD', K_DEADLINES, ARGV[6], id)
  redis.call('HSET', TICKETS .. id, 'activator', me, 'at', NOW, 'deadline', ARGV[6], 'bytes', ARGV[7])
  for i = 11, #ARGV, 2 do redis.call('HSET', TICKETS .. id, ARGV[i], ARGV[i + 1]) end
  redis.call('PEXPIREAT', TICKETS .. id, tonumber(ARGV[6]) + 2 * LEASE_MS)
  redis.call('HINCRBY', K_META, 'bytes', ARGV[7])
end
local seen = redis.call('HGET', K_ACT, me)
local op = 0
if seen then local _, o = split(seen); op = o end
redis.call('HSET', K_ACT, me, NOW .. '|' .. op)

if grant(offers, used, me) > 0 then nudge('o') end
granted = redis.call('HGET', K_GRANTS, id)
if granted then return answer_granted(seq) end

-- Announce on the first hold and at each doubling; ask the others for idle slots.
local held = redis.call('ZCARD', K_QUEUE)
if power_of_two(held) then
  redis.call('PUBLISH', 'pl:demand', SERVICE)
  nudge('w')
end
return { 'held', ready, seq, redis.call('ZRANK', K_QUEUE, id) + 1, '' }
