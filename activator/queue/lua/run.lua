-- run: its owner is about to send a granted ticket's request: count the attempt
-- and read the request. Idempotent by epoch.
-- ARGV 6 ticket, 7 epoch, 8 claim (1/0): the owner runs it already, and says so
-- to a ledger that may have forgotten it
local id, epoch = ARGV[6], tonumber(ARGV[7])
local t = redis.call('HMGET', K_TICKET(id), 'state', 'owner', 'epoch', 'done', 'attempts')
local mine = t[2] == ME and tonumber(t[3]) == epoch
if not t[1] or t[4] then return { mine and 'ended' or 'fenced' } end
if ARGV[8] == '1' and not mine then
  -- Rolled back to before its grant: who had it then has given it up since.
  if int(t[3], 0) >= epoch then return { 'fenced' } end
  dequeue(id)
  redis.call('HDEL', K_GRANTS, id)
  if t[2] ~= '' then redis.call('SREM', K_MINE(t[2]), id) end
  redis.call('SADD', K_MINE(ME), id)
  redis.call('HSET', K_TICKET(id), 'state', 'granted', 'owner', ME, 'epoch', epoch)
  t[1], mine = 'granted', true
end
if not mine or (t[1] ~= 'granted' and t[1] ~= 'running') then return { 'fenced' } end
if t[1] == 'granted' then
  redis.call('HSET', K_TICKET(id), 'attempts', int(t[5], 0) + 1)
  redis.call('HSET', K_TICKET(id), 'state', 'running')
  tell(id)
end
return { 'ok', redis.call('HGETALL', K_TICKET(id)) }
