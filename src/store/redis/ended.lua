-- KEYS: subject, birth, its sessions by start, its ended ones by latest start, both by until.
-- ARGV: now, known horizon, session start, tolerance, margin, how many are remembered, channel, message with @ for an
-- instant, and where one has ended: session, the latest start of its tokens, until when it is kept.
-- Of more than are remembered the oldest make room for a cutoff: its instant or nothing, until when it is kept, and
-- which.
local now, start, tolerance, margin = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local remembered, session, latest, till = tonumber(ARGV[6]), ARGV[9], tonumber(ARGV[10]), tonumber(ARGV[11])
local over = over_by_both(now)
local birth = created(KEYS[2], now, ARGV[2])
local cutoff = birth and subject_of(KEYS[1], birth, now, over)
if not cutoff then
  return no_answer('subject')
end
if session then
  -- Two that ended it may come here in either order.
  local function at_least(key, score)
    redis.call('ZADD', key, text(math.max(score, tonumber(redis.call('ZSCORE', key, session) or '0'))), session)
  end
  redis.call('ZREM', KEYS[3], session)
  at_least(KEYS[4], latest)
  at_least(KEYS[5], till)
  keep(KEYS[4], over, till)
  keep(KEYS[5], over, till)
end
drop_expired(KEYS[3], KEYS[4], KEYS[5], over)

local forgotten = { '', '' }
-- One session that ends makes one too many. Where the limit was lowered, the next ones make room for the rest.
while #forgotten < 128 and count_remembered(KEYS[3], KEYS[4], KEYS[5], over) > remembered do
  local instant = oldest_start(KEYS[3], KEYS[4])
  local last = kept_until(birth, now, start, tolerance, margin)
  for n = 3, 4 do
    for _, oldest in ipairs(redis.call('ZRANGEBYSCORE', KEYS[n], '-inf', text(instant))) do
      last = math.max(last, tonumber(redis.call('ZSCORE', KEYS[5], oldest) or '0'))
      redis.call('ZREM', KEYS[n], oldest)
      redis.call('ZREM', KEYS[5], oldest)
      forgotten[#forgotten + 1] = oldest
    end
  end
  cut_off(KEYS[1], cutoff, over, instant, '', last)
  forgotten[1], forgotten[2] = text(instant), text(last)
  cutoff = subject_of(KEYS[1], birth, now, over)
  redis.pcall('PUBLISH', ARGV[7], (string.gsub(ARGV[8], '@', text(instant))))
end
if cutoff.u then
  keep(KEYS[1], over, cutoff.u)
end
return forgotten
