-- Ends every script.
local answer = run(KEYS, ARGV)
if not answer.err then
  table.insert(answer, 1, has_lost)
end
return answer
