-- KEYS: session, its revoked tokens, birth.
-- ARGV: now, token, successor, supersedes, until, claims, session start, subject, its incarnation, whether the
-- subject's slot vouches for a session of that age.
local now, token, successor, supersedes = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4] == '1'
local till, claims, start = tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7])
local subject, incarnation, vouched = ARGV[8], ARGV[9], ARGV[10] == '1'
local since, _, reborn = born(KEYS[3], now)
local v, x, u, h, g, a, e, c =
  unpack(redis.call('HMGET', KEYS[1], 'v', 'x', 'u', 'h', 'g', 'a', 'e', 'c'))
if not since or is_unreadable(KEYS[1], v, x, u, h, g, a) or (h and not (c and e and tonumber(e))) then
  return corrupt('session')
end

local function is_revoked(which)
  local token_until = redis.call('HGET', KEYS[2], which)
  return token_until and tonumber(token_until) > now
end

local function answer(what, more)
  return { what, more or '', reborn }
end

if (x and tonumber(x) > now) or is_revoked(token) or is_revoked(successor) then
  return answer('revoked')
end

if not h or tonumber(u) <= now then
  -- Nobody vouches for a session older than the records are: it is recorded, so that its tokens have one successor
  -- each, and stays unknown.
  local orphan = '0'
  if supersedes and not (vouched and start >= since) then
    orphan = '1'
  end
  local generation, older = '0', ''
  if supersedes then
    -- The predecessor's own instant isn't known here; it is no later than its successor's.
    generation, older = '1', token .. ':0:' .. text(till) .. ','
  end
  redis.call('HSET', KEYS[1], 'v', '1', 'h', successor, 'e', text(till), 'g', generation, 'a', older,
    'u', text(till), 'c', claims, 'r', text(now), 's', text(start), 'p', subject, 'i', incarnation, 'o', orphan)
  redis.call('HDEL', KEYS[1], 'x')
  keep(KEYS[1], now, till)
  return answer('recorded')
end

if is_revoked(h) then
  return answer('revoked')
end
local ago = generations(token, now, h, g, a)
if ago == nil or (ago > 0 and not supersedes) then
  return answer('unknown')
elseif ago == 1 or not supersedes then
  return answer('superseded', c)
elseif ago > 1 then
  return answer('reused', text(ago))
elseif generations(successor, now, h, g, a) then
  -- A chain that met itself again would never end.
  return answer('misused')
end

local kept = {}
for entry, entry_until in string.gmatch(a, '([^,]+:%d+:(%d+)),') do
  if tonumber(entry_until) > now then
    kept[#kept + 1] = entry
  end
end
-- The oldest is forgotten first, and a forgotten token is merely not renewed.
if #kept >= 128 then
  table.remove(kept, 1)
end
kept[#kept + 1] = h .. ':' .. text(tonumber(g)) .. ':' .. e
redis.call('HSET', KEYS[1], 'h', successor, 'e', text(till), 'g', text(tonumber(g) + 1),
  'a', table.concat(kept, ',') .. ',', 'u', text(math.max(tonumber(u), till)), 'c', claims, 'r', text(now))
keep(KEYS[1], now, till)
return answer('recorded')
