-- hold: accept the ticket of a connection, or say that the queue is full.
-- Idempotent by ticket id.
-- ARGV 6 ticket, 7 deadline ms, 8 bytes, 9 max requests, 10 max bytes, 11 level,
-- 12 number to keep (0: a new one), 13 request timeout ms, 14 runs (1/0), 15
-- address, 16… field, value of the ticket
local id, deadline, bytes = ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])
begin()
local known = heard(0, tonumber(ARGV[13]), ARGV[14], ARGV[15])
local offers, used = load_slots()
local ready = ready_of(offers)
local function answer(kind, a, b, c) return { kind, gen, known, ready, a, b, c } end

local granted = redis.call('HGET', K_GRANTS, id)
if granted then
  local offer = offers[(split(granted))]
  if offer then return answer('granted', tonumber(ARGV[12]), 0, offer.raw) end
  redis.call('HDEL', K_GRANTS, id) -- its replica is gone: back into the queue
end
local number = redis.call('ZSCORE', K_QUEUE, id) and int(redis.call('HGET', K_TICKET(id), 'seq'))
if number then
  redis.call('SADD', K_MINE(ME), id)
  -- A copy of the first call, which came late, has brought it back as a new one.
  local own = tonumber(ARGV[12])
  if own > 0 and own ~= number then
    number = own
    redis.call('ZADD', K_QUEUE, place(tonumber(ARGV[11]), number), id)
    redis.call('HSET', K_TICKET(id), 'seq', digits(number))
  end
else
  local held = redis.call('ZCARD', K_QUEUE)
  local waiting = tonumber(redis.call('HGET', K_META, 'bytes') or 0)
  -- what has its place already, and is tried again, is never refused
  local own = tonumber(ARGV[12])
  if own == 0 and (held >= tonumber(ARGV[9]) or waiting + bytes > tonumber(ARGV[10])) then
    return answer('full', held, waiting, '')
  end
  number = number_for(own)
  enqueue(id, tonumber(ARGV[11]), number, deadline, false, bytes)
  redis.call('SADD', K_MINE(ME), id)
  redis.call('HSET', K_TICKET(id), 'owner', ME, 'at', NOW, 'deadline', deadline, 'bytes', bytes, 'seq', digits(number))
  for i = 16, #ARGV, 2 do redis.call('HSET', K_TICKET(id), ARGV[i], ARGV[i + 1]) end
  redis.call('PEXPIREAT', K_TICKET(id), deadline + 2 * LEASE_MS)
end
if grant(offers, used) > 0 then nudge('o') end
granted = redis.call('HGET', K_GRANTS, id)
if granted then return answer('granted', number, 0, offers[(split(granted))].raw) end
announce(redis.call('ZCARD', K_QUEUE))
return answer('held', number, redis.call('ZRANK', K_QUEUE, id) + 1, '')
