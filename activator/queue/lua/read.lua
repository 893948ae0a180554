-- read: what is known of a durable ticket, and chunks of its answer.
-- ARGV 6 ticket, 7 first chunk (-1: none are wanted), 8 chunks at most
local id, from = ARGV[6], tonumber(ARGV[7])
local t = redis.call('HMGET', K_TICKET(id), 'state', 'reason', 'status', 'answer', 'epoch', 'attempts', 'tenant',
  'request_id', 'at', 'deadline', 'size', 'replica', 'done', 'async')
if not t[1] then return { 'unknown' } end
local place, chunks = redis.call('ZRANK', K_QUEUE, id), {}
if from >= 0 and t[3] then
  chunks = redis.call('LRANGE', K_ANSWER(id), from, from + tonumber(ARGV[8]) - 1)
  -- Somebody has the beginning of an answer: from now on there can be no other.
  if not t[13] then redis.call('HSET', K_TICKET(id), 'shown', 1) end
end
for i = 1, 14 do t[i] = t[i] or '' end
return { 'ok', place and place + 1 or 0, redis.call('LLEN', K_ANSWER(id)), chunks, t }
