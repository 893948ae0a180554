-- The slot ledger, shared by the scripts that touch slots.

local acts = {} -- activator → {seen, number, timeout, runs, address} of those that live
local function write_act(id)
  local a = acts[id]
  redis.call('HSET', K_ACT, id, a.seen .. '|' .. a.number .. '|' .. a.timeout .. '|' .. a.runs .. '|' .. a.address)
end

local gen, recover = 0, 0

-- From when on a replica's own count says what it still computes for a dead
-- activator (doc.go, "The end of a quarantine"): so long after the process is known
-- to be gone, or, if it was only silent and may live, after its burial.
local COUNT_AFTER_GONE_MS, COUNT_AFTER_SILENCE_MS = 2000, 30000

-- For how long it is known of somebody that it was buried, at least: it may come back
-- from an outage of everybody, in which the others go on for as long as they like.
local MISSED_MS = 3600000

-- Slots that a dead activator may still have in use: how many, until when in any
-- case, from when on they may be counted, and whether the process is known to be
-- gone (1/0).
local function quarantine(replica, id, n, till, gone)
  if n == 0 then return end
  local from = NOW + (gone and COUNT_AFTER_GONE_MS or COUNT_AFTER_SILENCE_MS)
  redis.call('HSET', K_QUARANTINE, replica .. '|' .. id, n .. '|' .. till .. '|' .. from .. '|' .. (gone and 1 or 0))
  redis.call('PEXPIRE', K_QUARANTINE, math.max(redis.call('PTTL', K_QUARANTINE), till - NOW))
end

-- One that was buried for its silence is known to be gone by now.
local function is_gone(activator)
  each(redis.call('HGETALL', K_QUARANTINE), function(field, value)
    local _, id = split(field)
    local n, till, from, gone = split(value)
    if id ~= activator or gone == '1' then return end
    from = math.min(tonumber(from), NOW + COUNT_AFTER_GONE_MS)
    redis.call('HSET', K_QUARANTINE, field, n .. '|' .. till .. '|' .. from .. '|1')
  end)
end

-- Statements up to this number are from before somebody left, or was buried (1).
local function fence(id, number, till, buried)
  redis.call('HSET', K_FENCED, id, number .. '|' .. till .. '|' .. buried)
  redis.call('PEXPIRE', K_FENCED, math.max(redis.call('PTTL', K_FENCED), till - NOW))
end

-- An incarnation that is dead: its idle slots return, those in use are
-- quarantined, its tickets become orphans. gone: its process is known to have
-- ended, and not only silent. Returns whether it had any slot. What was in flight
-- takes as long as its owner has stated, or as a grant that it has not acknowledged
-- allows: it may have stated less before.
local function bury(id, gone)
  local a, used, had = acts[id], {}, false
  local longest = a.timeout
  each(redis.call('HGETALL', K_HELD), function(field, value)
    local replica, activator = split(field)
    if activator ~= id then return end
    local _, busy, peak = split(value)
    had = true
    used[replica] = (used[replica] or 0) + math.max(tonumber(busy), tonumber(peak))
    redis.call('HDEL', K_HELD, field)
  end)
  each(redis.call('HGETALL', K_GRANTS), function(ticket, value)
    local replica, owner, at, _, timeout = split(value)
    if owner ~= id then return end
    had = true
    longest = math.max(longest, tonumber(timeout))
    -- one that it can not have heard of is in nobody's use
    if tonumber(at) <= a.seen then used[replica] = (used[replica] or 0) + 1 end
    redis.call('HDEL', K_GRANTS, ticket)
  end)
  for replica, n in pairs(used) do quarantine(replica, id, n, NOW + longest, gone) end
  redis.call('HDEL', K_ACT, id)
  fence(id, a.number, NOW + math.max(longest, MISSED_MS), 1)
  if redis.call('EXISTS', K_MINE(id)) == 1 then
    local name = K_MINE(id) .. '~' .. digits(gen)
    redis.call('RENAME', K_MINE(id), name)
    redis.call('SADD', K_ORPHANS, name)
  end
  acts[id] = nil
  return had
end

-- A durable ticket whose run ended without an answer goes back to its place, or
-- fails: when it has been tried as often as allowed, or when somebody has read
-- the beginning of an answer that will have no end.
local function again(id)
  local t = redis.call('HMGET', K_TICKET(id), 'attempts', 'max', 'status', 'shown', 'keep', 'level', 'seq', 'deadline', 'bytes')
  local keep = int(t[5], KEEP_UNKNOWN)
  if t[3] and t[4] then
    finish(id, 'failed', 'cut', keep, false)
    return 'failed'
  end
  redis.call('DEL', K_ANSWER(id)) -- a part of an answer is none, also if no other comes
  redis.call('HDEL', K_TICKET(id), 'status', 'answer', 'size')
  local most, level, seq, deadline, bytes = int(t[2]), int(t[6]), int(t[7]), int(t[8]), int(t[9])
  if not (most and level and seq and deadline and bytes) then
    finish(id, 'failed', 'unreadable', keep, true)
    return 'failed'
  end
  if int(t[1], most) >= most then
    finish(id, 'failed', 'attempts', keep, false)
    return 'failed'
  end
  redis.call('HDEL', K_TICKET(id), 'replica')
  redis.call('HSET', K_TICKET(id), 'state', 'held')
  enqueue(id, level, seq, deadline, true, bytes)
  tell(id)
  return 'held'
end

local orphaned = false

-- A ticket of a dead activator: a durable one is anybody's, any other goes with
-- its connection.
local function orphan(id)
  local t = redis.call('HMGET', K_TICKET(id), 'owner', 'durable', 'state')
  if not t[1] then return end
  if t[1] ~= '' and redis.call('SISMEMBER', K_MINE(t[1]), id) == 1 then return end -- claimed again since
  if not t[2] then return forget_ticket(id) end
  redis.call('HSET', K_TICKET(id), 'owner', '')
  if t[3] == 'granted' or t[3] == 'running' then again(id) end
  orphaned = true
end

-- Orphans are seen to in steps, so that no call takes long.
local function adopt_some()
  local name = redis.call('SRANDMEMBER', K_ORPHANS)
  if not name then return end
  local ids = redis.call('SPOP', name, 100)
  for _, id in ipairs(ids) do orphan(id) end
  if #ids < 100 then redis.call('SREM', K_ORPHANS, name) end
  if orphaned then nudge('d') end
end

-- Who is dead? Silent for a lease, and not during the first lease after all were
-- silent: Redis was away then, and silence proves nothing.
local function reap(grace)
  if NOW > grace then
    local dead, had = {}, false
    for id, a in pairs(acts) do
      if NOW - a.seen > LEASE_MS then dead[#dead + 1] = id end
    end
    table.sort(dead)
    for _, id in ipairs(dead) do had = bury(id, false) or had end
    -- All of them at once: it may be Redis that they miss, and go on without.
    if had and next(acts) == nil then redis.call('HSET', K_META, 'blackout', NOW) end
  end
  adopt_some()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', K_DEADLINES, '-inf', NOW, 'LIMIT', 0, 100)) do
    local t = redis.call('HMGET', K_TICKET(id), 'durable', 'keep')
    if t[1] then finish(id, 'failed', 'deadline', int(t[2], KEEP_UNKNOWN), true) else forget_ticket(id) end
  end
  each(redis.call('HGETALL', K_QUARANTINE), function(field, value)
    local _, till = split(value)
    if tonumber(till) < NOW then redis.call('HDEL', K_QUARANTINE, field) end
  end)
  each(redis.call('HGETALL', K_FENCED), function(field, value)
    local _, till = split(value)
    if tonumber(till) < NOW then redis.call('HDEL', K_FENCED, field) end
  end)
end

-- Redis' clock in 10 us units: more than a server can run scripts.
local CLOCK = tonumber(time[1]) * 1e5 + math.floor(tonumber(time[2]) / 10)

-- Every script of the ledger begins here. It finds out whether this ledger may
-- have lost writes: the server is another process than the one that wrote last,
-- or the caller has seen a later generation, or one from before there was this
-- ledger; or whether all activators may have gone on without it. Then nothing is
-- granted for a lease: by then everybody has stated what it holds, or has stopped
-- using it.
--
-- A new ledger counts its generations from the clock on and keeps the first one
-- (born): counted from 0 it would soon be past what somebody who knew the one
-- before has seen, and so would pass for that one.
local function begin()
  local info = redis.pcall('INFO', 'server')
  local run = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''
  local m = redis.call('HMGET', K_META, 'run', 'gen', 'last', 'grace', 'recover', 'blackout', 'born')
  gen, recover = tonumber(m[2] or 0), tonumber(m[5] or 0)
  local born = tonumber(m[7] or 0)
  if not m[1] then
    gen, born = CLOCK, CLOCK
    redis.call('HSET', K_META, 'born', digits(born))
  end
  local grace, last = tonumber(m[4] or 0), tonumber(m[3] or NOW)
  each(redis.call('HGETALL', K_ACT), function(id, value)
    local seen, number, timeout, runs, address = split(value)
    acts[id] = { seen = tonumber(seen), number = tonumber(number), timeout = tonumber(timeout), runs = runs, address = address }
  end)
  -- One that was buried with all others lives: others may, too, and go on.
  local _, _, buried = split(m[6] and ME ~= '' and not acts[ME] and redis.call('HGET', K_FENCED, ME) or '')
  local back = buried == '1'
  local before = SEEN > 0 and SEEN <= born -- who has seen this ledger has seen more than that
  if (m[1] and m[1] ~= run) or SEEN > gen or before or back then
    recover = NOW + LEASE_MS
    redis.call('HSET', K_META, 'recover', recover, 'life', digits(gen) .. '.' .. NOW)
    redis.call('HDEL', K_META, 'blackout', 'born') -- the first who remembers speaks for all
    for id, a in pairs(acts) do a.seen = NOW; write_act(id) end
  end
  if math.abs(NOW - last) > LEASE_MS / 2 then
    grace = NOW + LEASE_MS
    redis.call('HSET', K_META, 'grace', grace)
  end
  gen = math.max(gen, SEEN) + 1
  redis.call('HSET', K_META, 'run', run, 'gen', digits(gen), 'last', NOW)
  reap(grace)
end

-- offers: replica → {slots, index, raw}; used: replica → slots leased, granted or
-- quarantined
local function load_slots()
  local offers, used = {}, {}
  each(redis.call('HGETALL', K_OFFERS), function(replica, raw)
    local offer = cjson.decode(raw)
    offers[replica] = { slots = offer.slots, index = offer.index, raw = raw }
  end)
  local function add(key, n)
    local replica = split(key)
    used[replica] = (used[replica] or 0) + tonumber(n)
  end
  each(redis.call('HGETALL', K_HELD), function(field, value) add(field, (split(value))) end)
  each(redis.call('HGETALL', K_GRANTS), function(_, value) add(value, 1) end)
  each(redis.call('HGETALL', K_QUARANTINE), function(field, value) add(field, (split(value))) end)
  return offers, used
end

local function ready_of(offers)
  local n = 0
  for _, offer in pairs(offers) do if offer.slots > 0 then n = n + 1 end end
  return n
end

local function suspects()
  local out = {}
  each(redis.call('HGETALL', K_SUSPECTS), function(replica, till)
    if tonumber(till) > NOW then out[replica] = true else redis.call('HDEL', K_SUSPECTS, replica) end
  end)
  return out
end

-- The least loaded replica with a free slot, ties to the lowest index.
local function best_of(offers, used, bad)
  local best, best_used, best_index
  for replica, offer in pairs(offers) do
    local u = used[replica] or 0
    if not bad[replica] and u < offer.slots and
        (not best or u < best_used or (u == best_used and offer.index < best_index)) then
      best, best_used, best_index = replica, u, offer.index
    end
  end
  return best
end

-- Who is next: the most urgent, first come; but a priority that has been passed over
-- nine times goes before it, of several such the least urgent. Returns the ticket, and
-- by how many slots each priority that waits will have been passed over once it has
-- one (level:slots …).
local PASSED_MOST = 9
local function next_ticket()
  local first, counts, pick = {}, {}, nil -- of each level that waits, the most urgent first
  local t = redis.call('ZRANGE', K_QUEUE, 0, 0, 'WITHSCORES')
  while t[1] do
    local level = level_of(t[2])
    first[#first + 1] = { id = t[1], level = level }
    t = redis.call('ZRANGEBYSCORE', K_QUEUE, place(level + 1, 0), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  end
  if not first[1] then return nil end
  if #first > 1 then
    for level, n in string.gmatch(redis.call('HGET', K_META, 'passed') or '', '(%d+):(%d+)') do
      counts[tonumber(level)] = tonumber(n)
    end
  end
  for _, f in ipairs(first) do
    if not pick or (counts[f.level] or 0) >= PASSED_MOST then pick = f end
  end
  local passed = {}
  for _, f in ipairs(first) do
    if f ~= pick then passed[#passed + 1] = f.level .. ':' .. (counts[f.level] or 0) + 1 end
  end
  return pick.id, table.concat(passed, ' ')
end

-- Who runs a durable ticket: the activator that has its connection, else the
-- caller, else one of those heard lately.
local function runner(owner, seq)
  if acts[owner] and acts[owner].runs == '1' then return owner end
  if acts[ME] and acts[ME].runs == '1' then return ME end
  local able = {}
  for id, a in pairs(acts) do
    if a.runs == '1' and NOW - a.seen < LEASE_MS / 2 then able[#able + 1] = id end
  end
  if #able == 0 then return nil end
  table.sort(able)
  return able[1 + int(seq, 0) % #able]
end

-- The heart: hand free slots to the head of the queue. Never more than
-- offer.slots of a replica. It returns how many went to others than the caller.
local function grant(offers, used)
  if NOW <= recover then return 0 end
  local bad, others = suspects(), 0
  for _ = 1, 1000 do
    local best = best_of(offers, used, bad)
    if not best then break end
    local id, passed = next_ticket()
    if not id then break end
    local t = redis.call('HMGET', K_TICKET(id), 'owner', 'durable', 'epoch', 'seq', 'timeout')
    local to, epoch = t[1], 0
    if t[2] then
      to, epoch = runner(t[1], t[4]), int(t[3], 0) + 1
      if not to then break end
      dequeue(id)
      if t[1] ~= '' then redis.call('SREM', K_MINE(t[1]), id) end
      redis.call('SADD', K_MINE(to), id)
      redis.call('HSET', K_TICKET(id), 'state', 'granted', 'owner', to, 'epoch', epoch, 'replica', best)
      tell(id)
    else
      forget_ticket(id)
    end
    if to and acts[to] then -- else its activator is dead, or the ticket has expired
      redis.call('HSET', K_GRANTS, id, best .. '|' .. to .. '|' .. NOW .. '|' .. epoch .. '|' .. int(t[5], 0))
      redis.call('HSET', K_META, 'passed', passed)
      used[best] = (used[best] or 0) + 1
      if to ~= ME then others = others + 1 end
    end
  end
  return others
end

-- The caller is heard: it lives. Returns 0 if it was not known before: then what
-- it held may be others'; 1 if it was, but has stated nothing since; else 2.
local function heard(number, timeout, runs, address)
  local a = acts[ME]
  acts[ME] = { seen = NOW, number = math.max(number, a and a.number or 0), timeout = timeout, runs = runs, address = address }
  write_act(ME)
  if not a then return 0 end
  return a.number > 0 and 2 or 1
end

-- A ticket's number: the one it brings, or the next.
local function number_for(own)
  local last = tonumber(redis.call('HGET', K_META, 'seq') or 0)
  local n = own > 0 and own or math.max(last + 1, CLOCK)
  if n > last then redis.call('HSET', K_META, 'seq', digits(n)) end
  return n
end

local function power_of_two(n)
  while n > 1 do
    if n % 2 == 1 then return false end
    n = n / 2
  end
  return n == 1
end

-- Announce on the first hold and at each doubling; ask the others for idle slots.
local function announce(held)
  if power_of_two(held) then
    redis.call('PUBLISH', 'pl:demand', SERVICE)
    nudge('w')
  end
end
