-- KEYS: horizon. ARGV: what it must be as it was read, or nothing; what it becomes.
-- What it is now, or nothing; the server's clock.
local found = redis.call('GET', KEYS[1]) or ''
-- Where there is no record, the caller writes one next, which a replica refuses.
if found ~= '' and refuses_writes(KEYS[1]) then
  is_replica = true
  return no_answer('horizon')
end
-- The same call again writes all the same, for WAIT counts writes.
if ARGV[2] and (found == ARGV[1] or found == ARGV[2]) then
  found = ARGV[2]
  redis.call('SET', KEYS[1], found)
end
return { found, text(clock) }
