-- demand: what the scaler reads. ARGV 6 how many deadlines at most
redis.call('HDEL', K_META, '-') -- a write first: what follows is not refused for want of memory
begin()
local offers, used = load_slots()
if grant(offers, used) > 0 then nudge('o') end
local out = { gen, redis.call('ZCARD', K_QUEUE), 0 }
local head = redis.call('ZRANGE', K_QUEUE, 0, 0)[1]
if head then out[3] = int(redis.call('HGET', K_TICKET(head), 'at'), NOW) end
local total, busy = {}, {}
local function add(replica, n, working)
  total[replica] = (total[replica] or 0) + n
  busy[replica] = (busy[replica] or 0) + working
end
each(redis.call('HGETALL', K_HELD), function(field, value)
  local owned, working = split(value)
  add((split(field)), tonumber(owned), tonumber(working))
end)
each(redis.call('HGETALL', K_GRANTS), function(_, value) add((split(value)), 1, 1) end)
-- Quarantined slots of an activator that may live are out, and busy as far as
-- anybody knows; of one that is gone nobody waits for what they compute. A replica
-- that is gone computes nothing.
local quarantined, lost = {}, {}
each(redis.call('HGETALL', K_QUARANTINE), function(field, value)
  local replica = split(field)
  local n, _, _, gone = split(value)
  if not offers[replica] then return end
  quarantined[replica] = (quarantined[replica] or 0) + tonumber(n)
  if gone == '1' then
    lost[replica] = (lost[replica] or 0) + tonumber(n)
  else
    add(replica, tonumber(n), tonumber(n))
  end
end)
local function row(kind, a, b, c)
  out[#out + 1] = kind; out[#out + 1] = a; out[#out + 1] = b; out[#out + 1] = c
end
for replica, n in pairs(total) do row('s', replica, n, busy[replica]) end
for replica, n in pairs(quarantined) do row('q', replica, n, lost[replica] or 0) end
each(redis.call('ZRANGE', K_DEADLINES, 0, tonumber(ARGV[6]) - 1), function(a, b)
  for _, id in ipairs({ a, b }) do row('d', int(redis.call('HGET', K_TICKET(id), 'deadline'), 0), 0, 0) end
end)
return out
