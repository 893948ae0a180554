-- greet: an activator says that it lives and where, and learns of the others.
-- KEYS 1 the list; ARGV 1 activator|address, 2 how long somebody silent is
-- remembered, ms, 3… those that are known to be gone
redis.call('ZREM', KEYS[1], '-') -- a write first: what follows is not refused for want of memory
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
for i = 3, #ARGV do redis.call('ZREM', KEYS[1], ARGV[i]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
if ARGV[1] ~= '' then redis.call('ZADD', KEYS[1], now, ARGV[1]) end
local out, all = {}, redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #all, 2 do
  out[#out + 1] = all[i]; out[#out + 1] = now - tonumber(all[i + 1])
end
return out
