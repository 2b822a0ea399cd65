-- KEYS: birth. ARGV: now, or 0 for the server's; known horizon or nothing.
-- The server's clock.
if not created(KEYS[1], tonumber(ARGV[1]), ARGV[2]) then
  return no_answer('birth')
end
return { text(clock) }
