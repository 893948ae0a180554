-- demand: what the scaler reads. ARGV 4 how many deadlines at most
reap()
local out = { redis.call('ZCARD', K_QUEUE), 0 }
local head = redis.call('ZRANGE', K_QUEUE, 0, 0)[1]
if head then out[2] = tonumber(redis.call('HGET', TICKETS .. head, 'at') or NOW) end
local total, busy = {}, {}
each(redis.call('HGETALL', K_HELD), function(field, value)
  local replica = split(field)
  local owned, working = split(value)
  total[replica] = (total[replica] or 0) + tonumber(owned)
  busy[replica] = (busy[replica] or 0) + tonumber(working)
end)
each(redis.call('HGETALL', K_GRANTS), function(_, value)
  local replica = split(value)
  total[replica] = (total[replica] or 0) + 1
  busy[replica] = (busy[replica] or 0) + 1
end)
for replica, n in pairs(total) do
  out[#out + 1] = 's'; out[#out + 1] = replica; out[#out + 1] = n; out[#out + 1] = busy[replica]
end
each(redis.call('ZRANGE', K_DEADLINES, 0, tonumber(ARGV[4]) - 1, 'WITHSCORES'), function(_, score)
  out[#out + 1] = 'd'; out[#out + 1] = score; out[#out + 1] = 0; out[#out + 1] = 0
end)
return out
