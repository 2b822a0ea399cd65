-- KEYS: session. ARGV: subject, and the instant and the end of its cutoff.
-- Removes the record of a session that its subject's cutoff covers. It stays where it is another subject's, where a token
-- of it can begin later, or where it was promised for longer.
--
-- It goes after a minute, which is longer than any call takes: one that asked the subject's slot before the cutoff was
-- there, and comes here after it, would find neither.
local subject, start, x, u = unpack(redis.call('HMGET', KEYS[1], 'p', 's', 'x', 'u'))
start = tonumber(start or nil)
local till = tonumber(x or u or nil)
if subject == ARGV[1] and start and start <= tonumber(ARGV[2]) and till and till <= tonumber(ARGV[3]) then
  redis.call('PEXPIRE', KEYS[1], '60000')
end
return {}
