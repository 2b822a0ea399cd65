-- KEYS: birth. ARGV: now, or 0 for the server's.
local since = born(KEYS[1], tonumber(ARGV[1]))
if not since then
  return corrupt('birth')
end
return { text(since) }
