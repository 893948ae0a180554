-- again: the owner gives a run up before any of its answer was stored: back to
-- its old place, or failed if it has been tried often enough. A run of which nothing
-- was sent is not counted: run, which made it one, did.
-- ARGV 6 ticket, 7 epoch, 8 unsent (1/0)
local id = ARGV[6]
begin()
local t = redis.call('HMGET', K_TICKET(id), 'state', 'owner', 'epoch')
if t[2] ~= ME or t[3] ~= ARGV[7] then return 'fenced' end
if t[1] == 'held' then return 'held' end
if t[1] ~= 'granted' and t[1] ~= 'running' then return 'fenced' end
redis.call('HDEL', K_GRANTS, id)
local attempts = int(redis.call('HGET', K_TICKET(id), 'attempts'))
if t[1] == 'running' and ARGV[8] == '1' and attempts and attempts > 0 then
  redis.call('HSET', K_TICKET(id), 'attempts', attempts - 1)
end
return again(id)
