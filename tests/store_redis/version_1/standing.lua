-- KEYS: session, its revoked tokens, birth. ARGV: now, token.
-- What the session's slot says: verdict, generations, birth, reborn, and of the record the incarnation and orphanhood.
local now, token = tonumber(ARGV[1]), ARGV[2]
local since, _, reborn = born(KEYS[3], now)
local v, x, u, h, g, a, i, o = unpack(redis.call('HMGET', KEYS[1], 'v', 'x', 'u', 'h', 'g', 'a', 'i', 'o'))
local token_until = redis.call('HGET', KEYS[2], token)
if not since or is_unreadable(KEYS[1], v, x, u, h, g, a) then
  return corrupt('session')
end
local verdict, ago = 'unrecorded', '0'
if (x and tonumber(x) > now) or (token_until and tonumber(token_until) > now) then
  verdict = 'revoked'
elseif h and tonumber(u) > now then
  verdict, ago = 'recorded', text(generations(token, now, h, g, a) or 0)
end
return { verdict, ago, text(since), reborn, i or '', o or '' }
