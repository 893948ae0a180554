-- cancel: a durable ticket ends, whatever it was doing. A final one stays as it
-- is. ARGV 6 ticket, 7 only if nobody else has joined it (1/0)
local id = ARGV[6]
local t = redis.call('HMGET', K_TICKET(id), 'state', 'durable', 'keep', 'done', 'joined')
if not t[2] then return 'unknown' end
if not t[4] and ARGV[7] == '1' and t[5] then return 'joined' end
if not t[4] then
  finish(id, 'cancelled', 'cancelled', int(t[3], KEEP_UNKNOWN), true)
  redis.call('DEL', K_ANSWER(id))
  redis.call('PUBLISH', 'pl:answers', SERVICE .. ' ' .. id .. ' cancel')
end
return t[4] and t[1] or 'cancelled'
