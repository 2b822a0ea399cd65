-- KEYS: subject, birth, its sessions by start.
-- ARGV: now, known horizon, session start, tolerance, margin, instant, session that is spared or nothing, channel,
-- message with @ for the instant, the name of this call.
-- Where everything on record ends: the subject's sessions that the cutoff does not cover, each with its start.
local now, start, tolerance, margin = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local wanted, except = tonumber(ARGV[6]), ARGV[7]
local over = over_by_both(now)
local birth = created(KEYS[2], now, ARGV[2])
local cutoff = birth and subject_of(KEYS[1], birth, now, over)
if not cutoff then
  return no_answer('subject')
end
-- The same call again has been dated. It writes all the same, for WAIT counts writes.
if redis.call('HGET', KEYS[1], 'n') == ARGV[10] then
  redis.call('HSET', KEYS[1], 'n', ARGV[10])
else
  local instant = dated(wanted, now)
  cut_off(KEYS[1], cutoff, over, instant, except, kept_until(birth, now, start, tolerance, margin))
  redis.call('HSET', KEYS[1], 'n', ARGV[10])
  redis.pcall('PUBLISH', ARGV[8], (string.gsub(ARGV[9], '@', text(instant))))
  cutoff = subject_of(KEYS[1], birth, now, over)
end
local later = {}
if wanted >= now then
  local listed = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. text(wanted), '+inf', 'WITHSCORES')
  for n = 1, #listed, 2 do
    if listed[n] ~= except and not is_cut_off(cutoff, listed[n], tonumber(listed[n + 1])) then
      later[#later + 1] = listed[n]
      later[#later + 1] = listed[n + 1]
    end
  end
end
return later
