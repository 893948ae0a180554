-- offer: the scaler states all replicas that have slots. Absolute.
-- ARGV 6 epoch of the scaler, 7… replica, offer (JSON)
redis.call('HDEL', K_META, '-') -- a write first: what follows is not refused for want of memory
begin()
-- An offer that a scaler sends after another has taken over would give slots of
-- replicas that the other is about to stop.
local epoch, later = tonumber(ARGV[6]), tonumber(redis.call('HGET', K_META, 'offerer') or '0')
if later > epoch then return { gen, 0, later } end
if later < epoch then redis.call('HSET', K_META, 'offerer', ARGV[6]) end
local keep, changed = {}, false
for i = 7, #ARGV, 2 do
  keep[ARGV[i]] = true
  if redis.call('HGET', K_OFFERS, ARGV[i]) ~= ARGV[i + 1] then
    redis.call('HSET', K_OFFERS, ARGV[i], ARGV[i + 1])
    redis.call('HDEL', K_SUSPECTS, ARGV[i])
    changed = true
  end
end
for _, replica in ipairs(redis.call('HKEYS', K_OFFERS)) do
  if not keep[replica] then
    redis.call('HDEL', K_OFFERS, replica)
    changed = true
  end
end
local offers, used = load_slots()
if grant(offers, used) > 0 or changed then nudge('o') end
return { gen, redis.call('ZCARD', K_QUEUE), epoch }
