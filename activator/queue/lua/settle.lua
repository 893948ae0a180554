-- settle: an activator states all that it holds, takes back what it withdraws,
-- and gets its grants and leases. Absolute, so a repetition changes nothing; an
-- older statement that arrives late is refused by its number.
-- ARGV 6 number, 7 wants leases (1/0), 8 request timeout ms, 9 runs (1/0), 10
-- address, 11 suspicion ms, 12 silence ms after which others ask for somebody,
-- 13 statement (JSON: {held: {replica: [owned, busy, peak]}, acks: {ticket: epoch},
-- withdraw: [ticket], suspect: [replica], left: {run: {replica, ms}}, waiting: n, leaving: bool, dead: [activator], views:
-- {activator: {number, busy: {replica: n}}}})
redis.call('HDEL', K_META, '-') -- a write first: what follows is not refused for want of memory
local number, statement = tonumber(ARGV[6]), cjson.decode(ARGV[13])
begin()
local was = redis.call('HGET', K_FENCED, ME)
local last = math.max(acts[ME] and acts[ME].number or 0, was and tonumber((split(was))) or 0)
if number < last then return { 'stale', gen } end

-- What others have found out about those who are silent.
for _, id in ipairs(statement.dead or {}) do
  if not acts[id] then
    is_gone(id)
  elseif id ~= ME and NOW - acts[id].seen > tonumber(ARGV[12]) then
    bury(id, true)
  end
end
for id, view in pairs(statement.views or {}) do
  if acts[id] and id ~= ME and view.number >= acts[id].number then
    for replica, n in pairs(view.busy or {}) do
      local held = redis.call('HGET', K_HELD, replica .. '|' .. id)
      local owned, busy = split(held or '0|0')
      redis.call('HSET', K_HELD, replica .. '|' .. id, math.max(tonumber(owned), n) .. '|' .. busy .. '|' .. n)
    end
  end
end
for id, a in pairs(acts) do -- whose address is ours now is dead
  if id ~= ME and a.address ~= '' and a.address == ARGV[10] and NOW - a.seen > tonumber(ARGV[12]) then bury(id, true) end
end

-- This statement takes the place of all that was known of the caller.
local known = heard(number, tonumber(ARGV[8]), ARGV[9], ARGV[10])
redis.call('HDEL', K_FENCED, ME)
local had = {} -- replica → slots that were the caller's until now
for _, key in ipairs({ K_HELD, K_QUARANTINE }) do
  each(redis.call('HGETALL', key), function(field, value)
    local replica, activator = split(field)
    if activator ~= ME then return end
    if key == K_HELD then had[replica] = (had[replica] or 0) + tonumber((split(value))) end
    redis.call('HDEL', key, field)
  end)
end
for id, epoch in pairs(statement.acks or {}) do -- a later grant of the same ticket stays
  local replica, owner, _, of = split(redis.call('HGET', K_GRANTS, id) or '')
  if owner == ME and tonumber(of) == epoch then
    had[replica] = (had[replica] or 0) + 1
    redis.call('HDEL', K_GRANTS, id)
  end
end
for _, id in ipairs(statement.withdraw or {}) do
  redis.call('HDEL', K_GRANTS, id)
  if not redis.call('HGET', K_TICKET(id), 'durable') then forget_ticket(id) end
end
-- Runs that were taken over while it was silent, and are cancelled by now: their
-- connections are closed, and their engines may compute on.
for run, left in pairs(statement.left or {}) do
  quarantine(left.replica, ME .. '~' .. run, 1, NOW + left.ms, true)
end
for _, replica in ipairs(statement.suspect or {}) do
  redis.call('HSET', K_SUSPECTS, replica, NOW + tonumber(ARGV[11]))
  redis.call('PUBLISH', 'pl:demand', SERVICE)
end

-- What it holds is believed as far as there is room beside the others: one that
-- was silent for a lease may have lost its idle slots to them. What was its own until
-- now stays so, also where an offer fell, or somebody came back with more in use than
-- was known: it is told what it may keep, and gives the rest back by saying less, since
-- it may never hear that it should have. Busy ones count in any case, and nothing is
-- granted on top.
local offers, used = load_slots()
local holding, owns, keeps = false, {}, {}
for replica, n in pairs(statement.held or {}) do
  holding = true
  local room = (offers[replica] and offers[replica].slots or 0) - (used[replica] or 0)
  local owned = math.max(n[2], math.min(n[1], math.max(room, had[replica] or 0)))
  owns[replica], keeps[replica] = owned, math.max(n[2], math.min(n[1], room))
  redis.call('HSET', K_HELD, replica .. '|' .. ME, owned .. '|' .. n[2] .. '|' .. math.min(n[3], owned))
  used[replica] = (used[replica] or 0) + owned
end
if statement.leaving then -- as if it were dead, but that nothing granted has been begun
  acts[ME].seen = -1
  bury(ME, false)
  adopt_some()
  used = select(2, load_slots())
end
if grant(offers, used) > 0 then nudge('o') end
if statement.leaving then return { 'left', gen } end
local waiting = redis.call('ZCARD', K_QUEUE)
local life = redis.call('HGET', K_META, 'life') or ''

-- When the first of those who are silent will be dead, in ms: whoever looks then
-- adopts its tickets at once. 0: nobody is.
local due = 0
for id, a in pairs(acts) do
  local silence = NOW - a.seen
  if id ~= ME and silence > tonumber(ARGV[12]) then
    local left = math.max(1, LEASE_MS - silence + 1)
    due = due == 0 and left or math.min(due, left)
  end
end

local out = { 'ok', gen, known, life, waiting, redis.call('HGET', K_META, 'durable') or 0, due }
local function add(kind, a, b, c)
  out[#out + 1] = kind; out[#out + 1] = a; out[#out + 1] = b; out[#out + 1] = c
end
for replica, most in pairs(keeps) do
  if most < statement.held[replica][1] then add('r', replica, most, '') end
end
each(redis.call('HGETALL', K_GRANTS), function(ticket, value)
  local replica, owner, _, epoch, timeout = split(value)
  if owner == ME then
    holding = true
    if epoch == '0' then add('g', ticket, replica, '')
    else add('x', ticket, replica, epoch .. '|' .. timeout) end
  end
end)

-- Nobody waits: what is free is leased out, so that the next request needs no
-- Redis: all of it to a lone activator, an equal share to each of several.
if waiting == 0 and ARGV[7] == '1' and NOW > recover then
  local alive, bad = 0, suspects()
  for _ in pairs(acts) do alive = alive + 1 end
  for replica, offer in pairs(offers) do
    local n = math.floor((offer.slots - (used[replica] or 0)) / alive)
    if n > 0 and not bad[replica] then
      local mine = (statement.held or {})[replica] or { 0, 0, 0 }
      local owned = (owns[replica] or 0) + n
      redis.call('HSET', K_HELD, replica .. '|' .. ME, owned .. '|' .. mine[2] .. '|' .. mine[3])
      add('l', replica, n, '')
    end
  end
end
-- One that holds nothing and for which nothing waits need not be heard again. It
-- may know of waiters of its own that this ledger has forgotten: then it is told so.
if not holding and (statement.waiting or 0) == 0 and ARGV[7] == '0' and (waiting == 0 or ARGV[9] == '0') and redis.call('SCARD', K_MINE(ME)) == 0 then
  redis.call('HDEL', K_ACT, ME)
  fence(ME, number, NOW + 2 * LEASE_MS, 0)
  out[3] = 3
end
for id, a in pairs(acts) do
  if id ~= ME and a.address ~= '' and NOW - a.seen > tonumber(ARGV[12]) then add('s', id, a.address, '') end
end
for replica, offer in pairs(offers) do add('o', replica, offer.raw, '') end
return out
