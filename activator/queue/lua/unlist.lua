-- unlist: forget a service of which nothing durable was found, unless something
-- has come since. KEYS 1 the list; ARGV 1 service, 2 ms of the look
local at = redis.call('ZSCORE', KEYS[1], ARGV[1])
if at and tonumber(at) < tonumber(ARGV[2]) then redis.call('ZREM', KEYS[1], ARGV[1]) end
return 0
