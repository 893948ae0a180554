-- again: the owner gives a run up before any of its answer was stored: back to
-- its old place, or failed if it has been tried often enough.
-- ARGV 6 ticket, 7 epoch
local id = ARGV[6]
begin()
local t = redis.call('HMGET', K_TICKET(id), 'state', 'owner', 'epoch')
if t[2] ~= ME or t[3] ~= ARGV[7] then return 'fenced' end
if t[1] == 'held' then return 'held' end
if t[1] ~= 'granted' and t[1] ~= 'running' then return 'fenced' end
redis.call('HDEL', K_GRANTS, id)
return again(id)
