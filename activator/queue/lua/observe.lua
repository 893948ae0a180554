-- observe: quarantined slots, and what replicas' own counts say of them.
-- ARGV 6 the mark that an earlier call returned, before the replicas were asked,
-- 7… replica, requests in flight there by its own count. None: only reads
redis.call('HDEL', K_META, '-') -- a write first: what follows is not refused for want of memory
begin()
local counted, mark = {}, tonumber(ARGV[6])
for i = 7, #ARGV, 2 do counted[ARGV[i]] = tonumber(ARGV[i + 1]) end
local out, freed = { gen, NOW }, 0
each(redis.call('HGETALL', K_QUARANTINE), function(field, value)
  local replica, id = split(field)
  local n, till, from, gone = split(value)
  n = tonumber(n)
  local most = counted[replica]
  -- a mark from before a recovery may be by another server's clock
  if most and most < n and mark >= tonumber(from) and mark > recover then
    freed, n = freed + n - most, most
    if n == 0 then redis.call('HDEL', K_QUARANTINE, field)
    else redis.call('HSET', K_QUARANTINE, field, n .. '|' .. till .. '|' .. from .. '|' .. gone) end
  end
  if n > 0 then
    out[#out + 1] = replica; out[#out + 1] = n; out[#out + 1] = till; out[#out + 1] = id
  end
end)
if freed > 0 then
  local offers, used = load_slots()
  if grant(offers, used) > 0 then nudge('o') end
end
return out
