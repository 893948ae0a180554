-- observe: quarantined slots, and what a replica's own count says of them.
-- ARGV 6 replica ('' only reads), 7 requests in flight there by its own count, 8
-- the mark that an earlier call returned, before that count was taken
redis.call('HDEL', K_META, '-') -- a write first: what follows is not refused for want of memory
begin()
local out, freed = { gen }, false
each(redis.call('HGETALL', K_QUARANTINE), function(field, value)
  local replica, id = split(field)
  local n, till, since = split(value)
  n = tonumber(n)
  if replica == ARGV[6] and tonumber(since) <= tonumber(ARGV[8]) and tonumber(ARGV[7]) < n then
    n, freed = tonumber(ARGV[7]), true
    if n == 0 then redis.call('HDEL', K_QUARANTINE, field)
    else redis.call('HSET', K_QUARANTINE, field, n .. '|' .. till .. '|' .. since) end
  end
  if n > 0 then
    out[#out + 1] = replica; out[#out + 1] = n; out[#out + 1] = till; out[#out + 1] = id
  end
end)
if freed then
  local offers, used = load_slots()
  if grant(offers, used) > 0 then nudge('o') end
end
return out
