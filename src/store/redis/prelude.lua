-- Common to all scripts. Instants are whole seconds since 1970, in decimal; sessions are named in hexadecimal where they
-- have an order.
--
-- The memory limit is judged at a script's first write. So the first write of what may be refused is one that can
-- grow, and no script is left half done.

-- The latest instant, 9999-12-31, and the horizon of sessions without bound.
local LAST = 253402300799

-- Lua itself would write a large number as 2.5e+11.
local function text(number)
  return string.format('%.0f', number)
end

-- Whether `created` found that this server is a replica.
local is_replica = false

-- Why a script can't answer.
local function no_answer(what)
  return redis.error_reply(is_replica and 'READONLY the server is a replica' or 'CORRUPT ' .. what)
end

-- A replica may not hold what its primary does, a revocation above all. Reading is allowed there, so every script tries a
-- write that changes nothing. One that can grow, because the memory limit is judged at the first. Other errors don't matter
-- to what only reads.
local function refuses_writes(key)
  local reply = redis.pcall('SET', key, '', 'NX')
  return type(reply) == 'table' and reply.err and string.find(reply.err, 'READONLY', 1, true) ~= nil
end

-- The server's clock.
local time = redis.call('TIME')
local clock = tonumber(time[1])

-- What ends by this instant is over by the caller's clock and by the server's. A tombstone counts until it is over by
-- both, and nothing is removed before: a caller whose clock is ahead would otherwise forget what still matters to the
-- others.
local function over_by_both(now)
  return math.min(now, clock)
end

local function time_to_live(over, till)
  return (till - over + 60) * 1000
end

-- Keeps the key at least until `till`, by the caller's clock and by the server's, and a minute longer. It always
-- writes: a replica that acknowledges this call's last write has everything that the call relies on.
local function keep(key, over, till)
  redis.call('PEXPIRE', key, text(math.max(time_to_live(over, till), redis.call('PTTL', key))))
end

-- Whether `created` found that the slot has lost something: the records before its incarnation, if there were any, or the
-- horizon that the caller knows. Every script's answer begins with it, and the caller restores what it can.
--
-- That the records were lost is noted in the slot (`l`) until its copy is made again from the horizon on record. A process
-- may be told, and fail or not wait for the answer; a revocation of another is kept too short until then.
local has_lost = '0'

-- When this slot's records began, the name of their incarnation, the horizon, and up to when and until when all sessions
-- are revoked. nil: `no_answer`.
--
-- The horizon is every slot's own copy, so that a revocation is kept by it in the step that writes. `known` is the
-- caller's: the larger one counts, for a slot that was lost has none, or that of a caller who knew less and came first.
-- In a raise (`is_raise`) nobody knows the new one yet, and the horizon's record will say since when it counts.
local function created(key, now, known, is_raise)
  local found = redis.pcall('HMGET', key, 's', 'i', 'h', 'a', 'u', 'l')
  if found.err then
    -- Version 1 was a text, which is the name of the incarnation. Its scripts can't read a hash: a process that knows
    -- no horizon does nothing here any more.
    local name = redis.pcall('GET', key)
    local since = type(name) == 'string' and string.match(name, '^(%d+):')
    if not since then
      return nil
    end
    redis.call('DEL', key)
    redis.call('HSET', key, 's', since, 'i', name)
    found = { since, name }
  end
  -- What began within this second began before the loss, for all that can be told.
  local begins_now = text(math.max(clock, now) + 1)
  if not found[1] then
    found = { begins_now, time[1] .. '.' .. time[2] }
    redis.call('HSET', key, 's', found[1], 'i', found[2], 'l', '1')
    has_lost = '1'
  elseif refuses_writes(key) then
    is_replica = true
    return nil
  elseif found[6] then
    has_lost = '1'
  end
  known = tonumber(known)
  local horizon = tonumber(found[3] or nil)
  if known and not (horizon and horizon >= known) then
    -- A revocation that was kept by a smaller one may be forgotten already, so a session without a record is unknown unless
    -- it begins later. A record is over before any revocation that its writers keep.
    if horizon and not is_raise and not found[6] then
      found[1] = text(math.max(tonumber(found[1]) or 0, tonumber(begins_now)))
    end
    horizon = known
    -- A server that is full has no room for it: it counts for this call all the same.
    local is_written = type(redis.pcall('HSET', key, 's', found[1], 'h', text(known))) == 'number'
    -- Where there was none, it is new.
    if is_written and found[3] then
      has_lost = '1'
    end
  end
  local since, all, all_until = tonumber(found[1]), tonumber(found[4] or nil), tonumber(found[5] or nil)
  if not (since and found[2]) or (all == nil) ~= (all_until == nil) then
    return nil
  end
  return {
    since = since, incarnation = found[2], horizon = horizon or LAST, is_set = horizon ~= nil, all = all,
    all_until = all_until,
  }
end

-- The latest start of a session that can exist by now, and the instant until which a revocation made now is kept: as
-- Retention::latest_start and Retention::kept_until.
local function latest_start(now, start, tolerance)
  return math.min(LAST, math.max(math.max(now, clock) + tolerance, start))
end
local function kept_until(birth, now, start, tolerance, margin)
  return math.min(LAST, math.max(now, clock, start) + tolerance + birth.horizon + margin)
end

-- The instant of a cutoff, up to now where it is not past: as Revocation::dated.
local function dated(instant, now)
  if instant < now then
    return instant
  end
  return math.min(LAST, math.max(instant, clock + instant - now))
end

-- Until when a record of version 1 is kept. One token's limit decided that there, so it may be too short, or for ever.
-- No token that exists by now is of use past the horizon; 60 s are the most that tolerance can be, 300 s the margin.
local function brought_in(birth, now)
  return kept_until(birth, now, 0, 60, 300)
end

-- Whether all sessions of that age are revoked.
local function is_all_revoked(birth, start, over)
  return birth.all and start <= birth.all and birth.all_until > over
end

-- A session is a hash. `v` version. Of a tombstone: `x` the instant until which it is revoked, `p` its subject, `s` the
-- latest start that any token of it can have. Of a chain: `h` head, `e` until when the head matters, `g` its generation,
-- `a` older tokens (`token:generation:until,`, oldest first), `u` until when the whole matters, `c` claims, `r` when
-- recorded, `s` session start, `p` subject, `i` the incarnation of the subject's records it was written under, `o` 1
-- where nobody vouches for the time before. Version 1 is brought under the horizon where it is met. nil: unreadable.
local function session_of(key, birth, now, over)
  local v, x, u, h, g, a, i, o, p, s =
    unpack(redis.call('HMGET', key, 'v', 'x', 'u', 'h', 'g', 'a', 'i', 'o', 'p', 's'))
  if not v then
    return redis.call('EXISTS', key) == 0 and { is_absent = true } or nil
  end
  local found = { x = tonumber(x or nil), u = tonumber(u or nil), h = h, g = tonumber(g or nil), a = a, i = i, o = o,
    p = p or '', s = tonumber(s or nil) or 0 }
  if (v ~= '1' and v ~= '2') or (x and not found.x)
    or (not x and not (h and a and found.u and found.g)) then
    return nil
  end
  if v == '1' and birth.is_set then
    local last = brought_in(birth, now)
    if x then
      found.x = last
      redis.pcall('HSET', key, 'v', '2', 'x', text(last))
    else
      found.u = math.min(found.u, last)
      redis.pcall('HSET', key, 'v', '2', 'u', text(found.u))
    end
    redis.call('PEXPIRE', key, text(time_to_live(over, found.x or found.u)))
  end
  return found
end

-- A session's revoked tokens are a hash too: `v` version, and each token with its instant. What version 1, which has no
-- `v`, kept for ever ends at the horizon.
local function token_until(key, birth, now, over, token)
  local till, v = unpack(redis.call('HMGET', key, token, 'v'))
  if till and not v and birth.is_set then
    local ttl = time_to_live(over, brought_in(birth, now))
    redis.pcall('HSET', key, 'v', '2')
    redis.call('PEXPIRE', key, text(math.min(ttl, math.max(0, redis.call('PTTL', key)))))
  end
  return tonumber(till or nil) or 0
end

-- How many generations ago the token was superseded: 0 is the head, nil a stranger.
local function generations(token, now, session)
  if token == session.h then
    return 0
  end
  local _, last = string.find(session.a, token .. ':', 1, true)
  if not last then
    return nil
  end
  local generation, till = string.match(session.a, '^(%d+):(%d+),', last + 1)
  if not generation then
    return nil
  end
  local ago = session.g - tonumber(generation)
  -- However late: a lost response is made good as long as the head lives.
  if ago == 1 or tonumber(till) > now then
    return ago
  end
  return nil
end

-- A subject is a hash: `v` version, and a cutoff, if there is one: `i` sessions begun at or before it are revoked, `e`
-- but this one, `f` unless it began at or before that, `u` until when, `n` the call that wrote it last. nil: unreadable.
local function subject_of(key, birth, now, over)
  local v, i, e, f, u = unpack(redis.call('HMGET', key, 'v', 'i', 'e', 'f', 'u'))
  if not v then
    return redis.call('EXISTS', key) == 0 and { is_absent = true } or nil
  end
  local found = { i = tonumber(i or nil), e = e or '', f = tonumber(f or nil), u = tonumber(u or nil) }
  if (v ~= '1' and v ~= '2') or (found.i == nil) ~= (found.u == nil) or (v == '1' and not i) then
    return nil
  end
  if v == '1' and birth.is_set then
    found.u = brought_in(birth, now)
    redis.pcall('HSET', key, 'v', '2', 'u', text(found.u))
    redis.call('PEXPIRE', key, text(time_to_live(over, found.u)))
  end
  if not (found.u and found.u > over) then
    return {}
  end
  return found
end

-- As Cutoff::revokes.
local function is_cut_off(cutoff, session, start)
  return cutoff.i and start <= cutoff.i and (cutoff.e ~= session or (cutoff.f and start <= cutoff.f))
end

-- As Cutoff::joined: what either revoked stays revoked for as long as either said, and nothing else is.
local function cut_off(key, cutoff, over, instant, except, till)
  local floor
  if cutoff.i then
    till = math.max(till, cutoff.u)
    floor = cutoff.f or -1
    if cutoff.e ~= except then
      floor = math.max(floor, math.min(instant, cutoff.i))
    end
    if instant < cutoff.i then
      instant, except = cutoff.i, cutoff.e
    end
    floor = floor >= 0 and text(floor) or nil
  end
  redis.call('HSET', key, 'v', '2', 'i', text(instant), 'e', except, 'f', floor or '', 'u', text(till))
  keep(key, over, till)
end

-- When the oldest of a subject's sessions began, of those by start and of the ended ones.
local function oldest_start(listed, ended)
  local oldest
  for _, key in ipairs({ listed, ended }) do
    local first = redis.call('ZRANGE', key, '0', '0', 'WITHSCORES')[2]
    oldest = math.min(oldest or LAST, tonumber(first or nil) or LAST)
  end
  return oldest
end

-- Removes expired entries from a subject's sessions by start and its ended ones, at most 128 at once. `expiry` has the
-- instants of both.
local function drop_expired(listed, ended, expiry, over)
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', expiry, '-inf', text(over), 'LIMIT', '0', '128')) do
    for _, key in ipairs({ listed, ended, expiry }) do
      redis.call('ZREM', key, gone)
    end
  end
end

-- How many entries have expired and are not removed yet, of both lists together. They count for no limit.
local function expired_by(expiry, instant)
  return redis.call('ZCOUNT', expiry, '-inf', text(instant))
end

-- How many of a subject's sessions are remembered: by start, and the ended ones.
local function count_remembered(listed, ended, expiry, over)
  return redis.call('ZCARD', listed) + redis.call('ZCARD', ended) - expired_by(expiry, over)
end
