-- KEYS: session. ARGV: subject, and the instant and the end of its cutoff.
-- Removes the record of a session that its subject's cutoff covers. It stays where it is another subject's, where a token
-- of it can begin later, or where it was promised for longer.
local subject, start, x, u = unpack(redis.call('HMGET', KEYS[1], 'p', 's', 'x', 'u'))
start = tonumber(start or nil)
local till = tonumber(x or u or nil)
if subject == ARGV[1] and start and start <= tonumber(ARGV[2]) and till and till <= tonumber(ARGV[3]) then
  redis.call('DEL', KEYS[1])
end
return {}
