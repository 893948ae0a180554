-- firsts: forget the first answers ARGV, which the caller has, and return the others
for _, had in ipairs(ARGV) do redis.call('LREM', KEYS[1], 1, had) end
return redis.call('LRANGE', KEYS[1], 0, -1)
