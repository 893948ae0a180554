-- list: tickets in sight, without bodies: those that wait, in their order, then
-- durable ones in a slot. ARGV 6 how many at most
local most, out = tonumber(ARGV[6]), {}
local function add(id, place)
  local t = redis.call('HMGET', K_TICKET(id), 'state', 'tenant', 'request_id', 'at', 'deadline', 'attempts', 'replica', 'async', 'durable', 'level')
  if not t[4] then return end
  for i = 1, 10 do t[i] = t[i] or '' end
  out[#out + 1] = { id, place, t }
end
for i, id in ipairs(redis.call('ZRANGE', K_QUEUE, 0, most - 1)) do add(id, i) end
for _, activator in ipairs(redis.call('HKEYS', K_ACT)) do
  if #out >= most then break end
  for _, id in ipairs(redis.call('SRANDMEMBER', K_MINE(activator), most - #out)) do
    local state = redis.call('HGET', K_TICKET(id), 'state')
    if state == 'granted' or state == 'running' then add(id, 0) end
  end
end
return out
