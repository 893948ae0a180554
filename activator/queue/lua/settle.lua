-- settle: an activator states all that it holds, takes back what it withdraws,
-- and gets its grants and leases. Absolute, so a repetition changes nothing; an
-- older statement that arrives late is refused by its number.
-- ARGV 4 activator, 5 number, 6 wants leases (1/0), 7 statement (JSON:
-- {held: {replica: [owned, busy]}, acks: [ticket], withdraw: [ticket],
-- suspect: [replica], waiting: n}), 8 suspicion ms
local me, number = ARGV[4], tonumber(ARGV[5])
local statement = cjson.decode(ARGV[7])
reap()
local seen = redis.call('HGET', K_ACT, me)
if seen then
  local _, last = split(seen)
  if tonumber(last) > number then return { 'stale' } end
end

each(redis.call('HGETALL', K_HELD), function(field)
  local _, activator = split(field)
  if activator == me then redis.call('HDEL', K_HELD, field) end
end)
for _, id in ipairs(statement.acks or {}) do
  redis.call('HDEL', K_GRANTS, id)
end
for _, id in ipairs(statement.withdraw or {}) do
  redis.call('HDEL', K_GRANTS, id)
  forget_ticket(id)
end
for _, replica in ipairs(statement.suspect or {}) do
  redis.call('HSET', K_SUSPECTS, replica, NOW + tonumber(ARGV[8]))
  redis.call('PUBLISH', 'pl:demand', SERVICE)
end

-- What it holds is believed as far as there is room beside the others: one that
-- was silent for a lease may have lost its idle slots to them. Busy ones count in
-- any case, and nothing is granted on top.
local offers, used = load_slots()
local holding, refused = false, {}
for replica, n in pairs(statement.held or {}) do
  holding = true
  local owned, room = n[1], (offers[replica] and offers[replica].slots or 0) - (used[replica] or 0)
  if owned > math.max(n[2], room) then
    owned = math.max(n[2], room)
    refused[replica] = owned
  end
  redis.call('HSET', K_HELD, replica .. '|' .. me, owned .. '|' .. n[2])
  used[replica] = (used[replica] or 0) + owned
end
if grant(offers, used, me) > 0 then nudge('o') end
local waiting = redis.call('ZCARD', K_QUEUE)

local out = { 'ok', waiting }
for replica, owned in pairs(refused) do
  out[#out + 1] = 'r'; out[#out + 1] = replica; out[#out + 1] = owned
end
each(redis.call('HGETALL', K_GRANTS), function(ticket, value)
  local replica, owner = split(value)
  if owner == me then
    holding = true
    out[#out + 1] = 'g'; out[#out + 1] = ticket; out[#out + 1] = replica
  end
end)

if not holding and (statement.waiting or 0) == 0 and ARGV[6] == '0' then
  redis.call('HDEL', K_ACT, me)
else
  redis.call('HSET', K_ACT, me, NOW .. '|' .. number)
end

-- Nobody waits: what is free is leased out, so that the next request needs no
-- Redis: all of it to a lone activator, an equal share to each of several.
if waiting == 0 and ARGV[6] == '1' then
  local alive = math.max(1, redis.call('HLEN', K_ACT))
  local bad = suspects()
  for replica, offer in pairs(offers) do
    local n = math.floor((offer.slots - (used[replica] or 0)) / alive)
    if n > 0 and not bad[replica] then
      local mine = (statement.held or {})[replica] or { 0, 0 }
      redis.call('HSET', K_HELD, replica .. '|' .. me, ((refused[replica] or mine[1]) + n) .. '|' .. mine[2])
      out[#out + 1] = 'l'; out[#out + 1] = replica; out[#out + 1] = n
    end
  end
end
for replica, offer in pairs(offers) do
  out[#out + 1] = 'o'; out[#out + 1] = replica; out[#out + 1] = offer.raw
end
return out
