-- firsts: return and forget the first answers reported since the last call
local list = redis.call('LRANGE', KEYS[1], 0, -1)
redis.call('DEL', KEYS[1])
return list
