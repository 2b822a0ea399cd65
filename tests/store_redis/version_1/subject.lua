-- KEYS: the subject's tombstone, its sessions, birth. ARGV: now, and to list a session: its id, start and until.
-- What the subject's slot says: the instant up to which sessions are revoked or nothing, birth, incarnation, reborn.
local now = tonumber(ARGV[1])
local since, incarnation, reborn = born(KEYS[3], now)
local v, i, u = unpack(redis.call('HMGET', KEYS[1], 'v', 'i', 'u'))
if not since or (v and (v ~= '1' or not (i and u and tonumber(i) and tonumber(u))))
  or (not v and redis.call('EXISTS', KEYS[1]) == 1) then
  return corrupt('subject')
end
local instant = ''
if v and tonumber(u) > now then
  instant = i
end
if ARGV[2] and not (instant ~= '' and tonumber(ARGV[3]) <= tonumber(instant)) then
  local till = math.max(tonumber(ARGV[4]), tonumber(redis.call('ZSCORE', KEYS[2], ARGV[2]) or '0'))
  redis.call('ZADD', KEYS[2], text(till), ARGV[2])
  keep(KEYS[2], now, till)
  -- A clock may step back a little and miss none.
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', text(now - 300))
end
return { instant, text(since), incarnation, reborn }
