-- KEYS: session, its revoked tokens, birth, its slot's sessions that begin ahead of the clock.
-- ARGV: now, known horizon, token, successor, supersedes, until, claims, session start, subject, its incarnation, whether
-- the subject's slot vouches for a session of that age, session, whether an unknown session is left alone, the earliest
-- instant at which the session can have begun.
-- What came of it, the head's claims or generations or the instant of a cutoff or whose session it is.
local now, token, successor, supersedes = tonumber(ARGV[1]), ARGV[3], ARGV[4], ARGV[5] == '1'
local till, claims, start = tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8])
local subject, incarnation, vouched, begun = ARGV[9], ARGV[10], ARGV[11] == '1', tonumber(ARGV[14])
local over = over_by_both(now)
local birth = created(KEYS[3], now, ARGV[2])
local session = birth and session_of(KEYS[1], birth, now, over)
local e, c = unpack(redis.call('HMGET', KEYS[1], 'e', 'c'))
if not session or (session.h and not (c and e and tonumber(e))) then
  return no_answer('session')
end

local function is_revoked(which)
  return token_until(KEYS[2], birth, now, over, which) > over
end

local function answer(what, more)
  return { what, more or '' }
end

if is_all_revoked(birth, start, over) then
  return answer('cut off', text(birth.all))
elseif (session.x and session.x > over) or is_revoked(token) or is_revoked(successor) then
  return answer('revoked')
end

local is_recorded = session.h and session.u > now
if ARGV[13] == '1' then
  -- As `state::judge` has it.
  local is_known = vouched and begun >= birth.since
  if is_recorded then
    is_known = session.o ~= '1' and (vouched or session.i == incarnation)
  end
  if not is_known then
    return answer('unknown session', session.p)
  end
end

-- A sign-in that was told to begin later, because its session was one too many. The record of its first try may still be
-- here, for a minute: see `forget.lua`.
local begins_again = is_recorded and not supersedes and token == session.h and session.g == 0 and start > session.s
if not is_recorded or begins_again then
  -- Nobody vouches for a session older than the records are: it is recorded, so that its tokens have one successor
  -- each, and stays unknown.
  local unattested = '0'
  if supersedes and not (vouched and begun >= birth.since) then
    unattested = '1'
  end
  local generation, older = '0', ''
  if supersedes then
    -- The predecessor's own instant isn't known here; it is no later than its successor's.
    generation, older = '1', token .. ':0:' .. text(till) .. ','
  end
  redis.call('HSET', KEYS[1], 'v', '2', 'h', successor, 'e', text(till), 'g', generation, 'a', older,
    'u', text(till), 'c', claims, 'r', text(now), 's', text(start), 'p', subject, 'i', incarnation, 'o', unattested)
  redis.call('HDEL', KEYS[1], 'x')
  keep(KEYS[1], over, till)
  if start > clock then
    -- A revocation of all revokes it individually.
    redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', text(clock))
    redis.call('ZADD', KEYS[4], text(start), ARGV[12])
    keep(KEYS[4], over, till)
  end
  return answer('recorded')
end

if is_revoked(session.h) then
  return answer('revoked')
end
local ago = generations(token, now, session)
if ago == nil or (ago > 0 and not supersedes) then
  return answer('not in chain', session.p)
elseif ago == 1 or not supersedes then
  return answer('superseded', c)
elseif ago > 1 then
  return answer('reused', text(ago))
elseif generations(successor, now, session) then
  -- A successor that is already in the chain would form a cycle.
  return answer('misused')
end

local kept = {}
for entry, entry_until in string.gmatch(session.a, '([^,]+:%d+:(%d+)),') do
  if tonumber(entry_until) > over then
    kept[#kept + 1] = entry
  end
end
-- The oldest is forgotten first, and a forgotten token is merely not renewed.
if #kept >= 128 then
  table.remove(kept, 1)
end
kept[#kept + 1] = session.h .. ':' .. text(session.g) .. ':' .. e
redis.call('HSET', KEYS[1], 'v', '2', 'h', successor, 'e', text(till), 'g', text(session.g + 1),
  'a', table.concat(kept, ',') .. ',', 'u', text(math.max(session.u, till)), 'c', claims, 'r', text(now))
keep(KEYS[1], over, till)
return answer('recorded')
