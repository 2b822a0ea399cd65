-- KEYS: birth. ARGV: now, or 0 for the server's; known horizon or nothing; 1 for a raise, whose horizon is not on record yet.
-- The server's clock.
local birth = created(KEYS[1], tonumber(ARGV[1]), ARGV[2], ARGV[3] == '1')
if not birth then
  return no_answer('birth')
end
if ARGV[3] == '1' then
  -- It writes all the same, for WAIT counts writes.
  redis.call('HSET', KEYS[1], 's', text(birth.since))
else
  redis.call('HDEL', KEYS[1], 'l')
end
return { text(clock) }
