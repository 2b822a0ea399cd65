-- KEYS: session, its revoked tokens, birth, its slot's sessions that begin ahead of the clock.
-- ARGV: now, known horizon, session start, tolerance, margin, subject or nothing, token or nothing for the session,
-- channel, message, session, and 1 where it is the subject's by its list alone.
-- Where the session ended: `ended`, its subject or nothing, the latest start of its tokens, until when it is kept. Where it
-- is another subject's than the list says: `another`.
local now, start, tolerance, margin = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local subject, token = ARGV[6], ARGV[7]
local over = over_by_both(now)
local birth = created(KEYS[3], now, ARGV[2])
local session = birth and session_of(KEYS[1], birth, now, over)
if not session then
  return no_answer('session')
end
if ARGV[11] == '1' and session.p and session.p ~= '' and session.p ~= subject then
  return { 'another' }
end
local latest = latest_start(now, start, tolerance)
local till = kept_until(birth, now, start, tolerance, margin)

local function end_session()
  -- Never before the last of its tokens is past mattering, and never earlier than was promised before.
  till = math.max(till, session.x or session.u or 0)
  latest = math.max(latest, session.s or 0)
  if session.p and session.p ~= '' then
    subject = session.p
  end
  -- It takes the place of its record, so there is room for it however full the server is: what was written first
  -- was a removal.
  if not session.is_absent then
    redis.call('DEL', KEYS[1])
  end
  redis.call('HSET', KEYS[1], 'v', '2', 'x', text(till), 'p', subject, 's', text(latest))
  -- A revocation of all that is made again goes on behind it.
  redis.call('ZREM', KEYS[4], ARGV[10])
  keep(KEYS[1], over, till)
  return { 'ended', subject, text(latest), text(till) }
end

local function revoke_token()
  if session.x and session.x >= till then
    -- From now on the tombstone also covers this token's session start.
    return end_session()
  end
  if session.h and session.u > over then
    -- It has a successor, though one so old may be forgotten here.
    if token ~= session.h then
      return end_session()
    end
    -- As long as the record names it as the head, its predecessor must not be given it.
    till = math.max(till, session.u)
  end
  local promised = token_until(KEYS[2], birth, now, over, token)
  if promised < till then
    if redis.call('HLEN', KEYS[2]) > 128 then
      local all = redis.call('HGETALL', KEYS[2])
      for n = 1, #all, 2 do
        if all[n] ~= 'v' and tonumber(all[n + 1]) <= over then
          redis.call('HDEL', KEYS[2], all[n])
        end
      end
      -- No session has so many tokens of use: somebody revokes without end, and all of it ends.
      if redis.call('HLEN', KEYS[2]) > 128 then
        return end_session()
      end
    end
    redis.call('HSET', KEYS[2], 'v', '2', token, text(till))
  end
  keep(KEYS[2], over, math.max(till, promised))
  return { 'done' }
end

local answer = token == '' and end_session() or revoke_token()
-- Who can't be told asks again soon enough; the revocation holds.
redis.pcall('PUBLISH', ARGV[8], ARGV[9])
return answer
