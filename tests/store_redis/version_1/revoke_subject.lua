-- KEYS: the subject's tombstone. ARGV: now, until, instant, channel, message.
local now, till, instant = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local v, i, u = unpack(redis.call('HMGET', KEYS[1], 'v', 'i', 'u'))
if (v and (v ~= '1' or not (i and u and tonumber(i) and tonumber(u))))
  or (not v and redis.call('EXISTS', KEYS[1]) == 1) then
  return corrupt('subject')
end
if till > now then
  -- The stronger of each: what either entry revoked stays revoked for as long as either said.
  if v and tonumber(u) > now then
    instant, till = math.max(instant, tonumber(i)), math.max(till, tonumber(u))
  end
  redis.call('HSET', KEYS[1], 'v', '1', 'i', text(instant), 'u', text(till))
  keep(KEYS[1], now, till)
end
redis.pcall('PUBLISH', ARGV[4], ARGV[5])
return { 'done' }
