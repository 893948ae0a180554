-- submit: accept a durable ticket, or find the one that its key or id has already.
-- ARGV 6 ticket, 7 key ('' none), 8 hash of the request, 9 deadline ms, 10 bytes,
-- 11 max requests, 12 max bytes, 13 level, 14 ms to live after the deadline, 15
-- attempts at most, 16 async (1/0), 17 keep ms, 18 request timeout ms, 19 runs
-- (1/0), 20 address, 21 bytes of answers kept at most, 22 replica of which the
-- caller gives one idle slot back ('' of none), 23 number of its last statement
-- then, 24… field, value of the ticket
local id, key, hash, deadline, bytes = ARGV[6], ARGV[7], ARGV[8], tonumber(ARGV[9]), tonumber(ARGV[10])
begin()
local known = heard(0, tonumber(ARGV[18]), ARGV[19], ARGV[20])
local ready = -1 -- replicas that have slots; not looked at for one that waits for none
local function answer(kind, a, b, offer, epoch) return { kind, gen, known, a, b, offer or '', epoch or 0, ready } end

local same = id
if key ~= '' then same = redis.call('GET', K_KEY(key)) or id end
local old = redis.call('HGET', K_TICKET(same), 'hash')
if old and old ~= hash then return answer('reused', same, 0) end
if old then
  -- Whose caller is here now: it is to run here, unless it runs already.
  local t = redis.call('HMGET', K_TICKET(same), 'state', 'owner', 'async', 'deadline', 'done')
  if t[1] == 'held' then ready = ready_of((load_slots())) end
  if t[1] == 'held' and t[3] ~= '1' and not acts[t[2]] then
    redis.call('HSET', K_TICKET(same), 'owner', ME)
    redis.call('SADD', K_MINE(ME), same)
  end
  -- Two wait for it now: it is not the first one's alone to withdraw, and it lasts
  -- for as long as the second one was promised.
  if same ~= id and not t[5] then
    redis.call('HSET', K_TICKET(same), 'joined', 1)
    if ARGV[16] == '1' then redis.call('HSET', K_TICKET(same), 'async', 1) end
    if deadline > int(t[4], 0) then
      redis.call('HSET', K_TICKET(same), 'deadline', deadline)
      if t[1] == 'held' then redis.call('ZADD', K_DEADLINES, deadline, same) end
      redis.call('PEXPIREAT', K_TICKET(same), deadline + tonumber(ARGV[14]))
      redis.call('PEXPIREAT', K_KEY(key), deadline + tonumber(ARGV[14]))
    end
  end
  return answer(same == id and 'new' or 'joined', same, 0)
end
local held = redis.call('ZCARD', K_QUEUE)
local waiting = tonumber(redis.call('HGET', K_META, 'bytes') or 0)
if held >= tonumber(ARGV[11]) or waiting + bytes > tonumber(ARGV[12]) then return answer('full', held, waiting) end
if not room(tonumber(ARGV[21])) then return answer('kept', 0, redis.call('HGET', K_META, 'kept')) end

local number, owner = number_for(0), ARGV[16] == '1' and '' or ME
redis.call('HSET', K_TICKET(id), 'durable', 1, 'state', 'held', 'owner', owner, 'epoch', 0, 'attempts', 0,
  'max', ARGV[15], 'async', ARGV[16], 'key', key, 'hash', hash, 'at', NOW, 'deadline', deadline,
  'bytes', bytes, 'seq', digits(number), 'level', ARGV[13], 'keep', ARGV[17])
for i = 24, #ARGV, 2 do redis.call('HSET', K_TICKET(id), ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIREAT', K_TICKET(id), deadline + tonumber(ARGV[14]))
if key ~= '' then redis.call('SET', K_KEY(key), id, 'PXAT', deadline + tonumber(ARGV[14])) end
redis.call('HINCRBY', K_META, 'durable', 1)
if owner ~= '' then redis.call('SADD', K_MINE(owner), id) end
enqueue(id, tonumber(ARGV[13]), number, deadline, true, bytes)
-- The slot that comes with it, unless a statement has taken that back since.
if ARGV[22] ~= '' and acts[ME].number == tonumber(ARGV[23]) then
  local field = ARGV[22] .. '|' .. ME
  local owned, busy, peak = split(redis.call('HGET', K_HELD, field) or '0|0|0')
  local rest = tonumber(owned) - 1
  if rest >= 0 then
    redis.call('HSET', K_HELD, field, rest .. '|' .. math.min(tonumber(busy), rest) .. '|' .. math.min(tonumber(peak), rest))
  end
end
local offers, used = load_slots()
ready = ready_of(offers)
if grant(offers, used) > 0 then nudge('o') end
announce(redis.call('ZCARD', K_QUEUE))
local replica, to, _, epoch = split(redis.call('HGET', K_GRANTS, id) or '')
if to == ME then return answer('new', id, 0, offers[replica].raw, epoch) end
return answer('new', id, 0)
