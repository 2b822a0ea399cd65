-- KEYS: birth, its slot's sessions that begin ahead of the clock. ARGV: now, known horizon, session start, tolerance,
-- margin, instant, channel or nothing, message with @ for the instant, the name of this call.
-- Where everything on record ends: the sessions of this slot that begin after the instant, each with its start.
local now, start, tolerance, margin = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local over = over_by_both(now)
local birth = created(KEYS[1], now, ARGV[2])
if not birth then
  return no_answer('birth')
end
local wanted = tonumber(ARGV[6])
-- The same call again has been dated. It writes all the same, for WAIT counts writes.
if redis.call('HGET', KEYS[1], 'n') == ARGV[9] then
  redis.call('HSET', KEYS[1], 'n', ARGV[9])
else
  local instant = dated(wanted, now)
  local till = kept_until(birth, now, start, tolerance, margin)
  if birth.all and birth.all_until > over then
    instant, till = math.max(instant, birth.all), math.max(till, birth.all_until)
  end
  redis.call('HSET', KEYS[1], 'a', text(instant), 'u', text(till), 'n', ARGV[9])
  birth.all = instant
  if ARGV[7] ~= '' then
    redis.pcall('PUBLISH', ARGV[7], (string.gsub(ARGV[8], '@', text(instant))))
  end
end
if wanted < now then
  return {}
end
return redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. text(birth.all), '+inf', 'WITHSCORES')
