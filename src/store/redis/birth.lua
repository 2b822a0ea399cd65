-- KEYS: birth. ARGV: now, or 0 for the server's; known horizon or nothing; 1 where replicas are waited for.
-- The server's clock.
local birth = created(KEYS[1], tonumber(ARGV[1]), ARGV[2])
if not birth then
  return no_answer('birth')
end
-- It writes all the same, for WAIT counts writes.
if ARGV[3] == '1' then
  redis.call('HSET', KEYS[1], 's', text(birth.since))
end
return { text(clock) }
