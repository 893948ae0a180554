-- store: the running owner adds to a ticket's answer. One answer ever: a stale
-- owner is fenced off by its epoch. A repetition changes nothing.
-- ARGV 6 ticket, 7 epoch, 8 chunks stored so far, 9 status ('' is stored
-- already), 10 header (JSON), 11 chunk ('' none), 12 final state ('' not yet), 13
-- reason, 14 keep ms, 15 max bytes, 16 free the key (1/0)
local id = ARGV[6]
local t = redis.call('HMGET', K_TICKET(id), 'state', 'owner', 'epoch', 'size', 'shown')
if t[2] ~= ME or t[3] ~= ARGV[7] then return 'fenced' end
if t[1] ~= 'running' and t[1] ~= 'granted' then
  return t[1] == ARGV[12] and 'ok' or 'ended' -- stored already, by a copy of this call, or cancelled
end
local size = int(t[4], 0)
if ARGV[16] == '1' and size > 0 then
  -- It fails in the midst of an answer: nobody must take the failure for a part of
  -- that. Who has read the beginning is told that it broke off.
  if t[5] then
    finish(id, ARGV[12], 'cut', tonumber(ARGV[14]), false)
    return 'ok'
  end
  redis.call('DEL', K_ANSWER(id))
  size = 0
end
if ARGV[9] ~= '' then redis.call('HSET', K_TICKET(id), 'status', ARGV[9], 'answer', ARGV[10]) end
local large = size < 0
if ARGV[11] ~= '' and not large and redis.call('LLEN', K_ANSWER(id)) <= tonumber(ARGV[8]) then
  size = size + #ARGV[11]
  if size > tonumber(ARGV[15]) then
    large, size = true, -1
    redis.call('DEL', K_ANSWER(id)) -- a part of an answer is none
  else
    redis.call('RPUSH', K_ANSWER(id), ARGV[11])
    redis.call('PEXPIRE', K_ANSWER(id), math.max(redis.call('PTTL', K_TICKET(id)), 1))
  end
  redis.call('HSET', K_TICKET(id), 'size', size)
end
if ARGV[12] ~= '' then
  finish(id, ARGV[12], ARGV[13], tonumber(ARGV[14]), ARGV[16] == '1')
else
  tell(id)
end
return large and 'large' or 'ok'
