-- Saves a new version of one policy if nothing has changed since its author
-- looked, and drops policies that were removed long ago.
-- KEYS: current, versions of this policy, counter, versions of each dropped one.
-- ARGV: name, record, counter as it was seen, versions to keep, channel, seconds
-- for which the versions are kept ('0': for ever), name of each dropped one.
-- Answers 1 if the record is saved, 0 if something has changed.
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then
  return 1 -- by an earlier call whose answer was lost
end
if (redis.call('GET', KEYS[3]) or '') ~= ARGV[3] then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('LPUSH', KEYS[2], ARGV[2])
redis.call('LTRIM', KEYS[2], 0, ARGV[4] - 1)
if ARGV[6] == '0' then
  redis.call('PERSIST', KEYS[2])
else
  redis.call('EXPIRE', KEYS[2], ARGV[6])
end
for i = 4, #KEYS do
  redis.call('HDEL', KEYS[1], ARGV[i + 3])
  redis.call('DEL', KEYS[i])
end
redis.call('INCR', KEYS[3])
redis.call('PUBLISH', ARGV[5], ARGV[1])
return 1
