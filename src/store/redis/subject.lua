-- KEYS: subject, birth, and to list a session: the subject's sessions by start, its ended ones by latest start, and both
-- by the instant until which each matters.
-- ARGV: now, known horizon, session, session start, and to list it: until, and nothing or how many are kept live and how
-- many are remembered.
-- What the subject's slot says: the instant up to which sessions of that age are revoked or nothing, birth, incarnation;
-- then whether the session is listed only now, whether more than are remembered are, and those that are too many to be
-- live, each with its start.
local now, session, start = tonumber(ARGV[1]), ARGV[3], tonumber(ARGV[4])
local till, live, remembered = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local over = over_by_both(now)
local birth = created(KEYS[2], now, ARGV[2])
local cutoff = birth and subject_of(KEYS[1], birth, now, over)
if not cutoff then
  return no_answer('subject')
end
local instant = is_cut_off(cutoff, session, start) and cutoff.i or -1
if is_all_revoked(birth, start, over) then
  instant = math.max(instant, birth.all)
end
local answer = { instant >= 0 and text(instant) or '', text(birth.since), birth.incarnation }
if not till or instant >= 0 then
  return answer
end

if redis.call('ZSCORE', KEYS[4], session) and tonumber(redis.call('ZSCORE', KEYS[5], session) or '0') > over then
  -- It has ended, as its own slot will say.
  return answer
end
local is_new = not redis.call('ZSCORE', KEYS[3], session)
if is_new and remembered and count_remembered(KEYS[3], KEYS[4], KEYS[5], over) >= remembered then
  -- Of as many as are remembered the oldest go, and what began with them.
  local oldest = oldest_start(KEYS[3], KEYS[4])
  if start <= oldest then
    answer[1] = text(oldest)
    return answer
  end
end
redis.call('ZADD', KEYS[3], 'NX', text(start), session)
redis.call('ZADD', KEYS[5], text(math.max(till, tonumber(redis.call('ZSCORE', KEYS[5], session) or '0'))), session)
if cutoff.is_absent then
  -- Version 1's revocation of a subject can't read it, and is refused.
  redis.call('HSET', KEYS[1], 'v', '2')
end
for _, key in ipairs({ KEYS[1], KEYS[3], KEYS[5] }) do
  keep(key, over, till)
end
drop_expired(KEYS[3], KEYS[4], KEYS[5], over)
answer[4] = is_new and '1' or '0'
answer[5] = is_new and remembered and count_remembered(KEYS[3], KEYS[4], KEYS[5], over) > remembered and '1' or '0'
-- One sign-in ends one session. Where the limit was lowered, the next ones end the rest. Ended sessions go
-- first. The session that "all others" spared and the new one are never ended.
-- Some of the expired ones may be in the other list: then fewer end than could.
local expired = expired_by(KEYS[5], now)
local too_many = is_new and live and math.min(redis.call('ZCARD', KEYS[3]) - expired - live, 128) or 0
if too_many > 0 then
  local oldest = redis.call('ZRANGE', KEYS[3], '0', text(too_many + math.min(expired, 128)), 'WITHSCORES')
  for _, is_live in ipairs({ false, true }) do
    for n = 1, #oldest, 2 do
      local is_dead = is_cut_off(cutoff, oldest[n], tonumber(oldest[n + 1])) or false
      local is_over = tonumber(redis.call('ZSCORE', KEYS[5], oldest[n]) or LAST) <= now
      if oldest[n] ~= session and not is_over and is_live ~= is_dead and #answer < 5 + 2 * too_many then
        answer[#answer + 1] = oldest[n]
        answer[#answer + 1] = oldest[n + 1]
      end
    end
  end
end
return answer
