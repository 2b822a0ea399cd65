-- KEYS: session, its revoked tokens. ARGV: now, until, token or nothing for the session, channel, message.
local now, till, token = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local v, x, u, h, g, a = unpack(redis.call('HMGET', KEYS[1], 'v', 'x', 'u', 'h', 'g', 'a'))
if is_unreadable(KEYS[1], v, x, u, h, g, a) then
  return corrupt('session')
end

local function revoke_session()
  -- Never before the last of its tokens is past mattering, and never earlier than was promised before.
  local last = math.max(till, tonumber(x or u or '0'))
  if last <= now then
    return
  end
  -- It takes the place of its record, so there is room for it however full the server is: what was written first
  -- was a removal.
  if v then
    redis.call('DEL', KEYS[1])
  end
  redis.call('HSET', KEYS[1], 'v', '1', 'x', text(last))
  keep(KEYS[1], now, last)
end

local function revoke_token()
  if x and tonumber(x) >= till then
    return
  end
  if h and tonumber(u) > now then
    -- It has a successor, though one so old may be forgotten here.
    if token ~= h then
      return revoke_session()
    end
    -- As long as the record names it as the head, its predecessor must not be given it.
    till = math.max(till, tonumber(u))
  end
  local promised = tonumber(redis.call('HGET', KEYS[2], token) or '0')
  if till <= now or promised >= till then
    return
  end
  redis.call('HSET', KEYS[2], token, text(till))
  keep(KEYS[2], now, till)
  if redis.call('HLEN', KEYS[2]) > 64 then
    local all = redis.call('HGETALL', KEYS[2])
    for n = 1, #all, 2 do
      if tonumber(all[n + 1]) <= now then
        redis.call('HDEL', KEYS[2], all[n])
      end
    end
  end
end

if token == '' then
  revoke_session()
else
  revoke_token()
end
-- Who can't be told asks again soon enough; the revocation holds.
redis.pcall('PUBLISH', ARGV[4], ARGV[5])
return { 'done' }
