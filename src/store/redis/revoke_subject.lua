-- KEYS: subject, birth, its sessions by start.
-- ARGV: now, known horizon, session start, tolerance, margin, instant, session that is spared or nothing, channel,
-- message with @ for the instant, the name of this call.
local now, start, tolerance, margin = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local instant, except = tonumber(ARGV[6]), ARGV[7]
local over = over_by_both(now)
local birth = created(KEYS[2], now, ARGV[2])
local cutoff = birth and subject_of(KEYS[1], birth, now, over)
if not cutoff then
  return corrupt('subject')
end
-- The same call again: it has been dated. It writes all the same, for WAIT counts writes.
if redis.call('HGET', KEYS[1], 'n') == ARGV[10] then
  redis.call('HSET', KEYS[1], 'n', ARGV[10])
  return { 'done' }
end
local newest = redis.call('ZREVRANGE', KEYS[3], '0', '0', 'WITHSCORES')[2]
instant = dated(instant, now, tonumber(newest or nil))
local till = kept_until(birth, now, start, tolerance, margin)
cut_off(KEYS[1], cutoff, over, instant, except, till)
redis.call('HSET', KEYS[1], 'n', ARGV[10])
redis.pcall('PUBLISH', ARGV[8], (string.gsub(ARGV[9], '@', text(instant))))
return { 'done' }
