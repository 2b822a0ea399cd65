-- For a server that has every slot: `list`, which is the script of a subject, and `rotate`, that of a session.
-- KEYS and ARGV: those of `rotate`, of which the subject's slot says the 10th and 11th argument, then those of `list`.
-- Nothing if one of the slots is not here: a proxy that spreads keys over servers may have looked at the first key only. Since
-- the store was opened, each slot has its birth where its keys are. Otherwise how many texts `list` answers, these, and the
-- answer of `rotate` if the subject's session is not revoked.
if redis.call('EXISTS', KEYS[3]) == 0 or redis.call('EXISTS', KEYS[6]) == 0 then
  return {}
end
local listed = list({ unpack(KEYS, 5) }, { unpack(ARGV, 15) })
if listed.err then
  return listed
end
local answer = { text(#listed), unpack(listed) }
if listed[1] == '' then
  local rotation = { unpack(ARGV, 1, 14) }
  rotation[10] = listed[3]
  rotation[11] = tonumber(rotation[14]) >= tonumber(listed[2]) and '1' or '0'
  local rotated = rotate({ unpack(KEYS, 1, 4) }, rotation)
  if rotated.err then
    return rotated
  end
  for _, said in ipairs(rotated) do
    answer[#answer + 1] = said
  end
end
return answer
