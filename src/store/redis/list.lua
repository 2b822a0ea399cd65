-- KEYS: subject, birth, its sessions by start, version 1's list of them.
-- ARGV: now, known horizon, how many, and to go on: start and name of the last one.
-- The subject's cutoff (instant or nothing, the session that is spared, floor), all sessions' or nothing, whether version
-- 1 listed some; then the newest sessions, each with its start.
local now, count, last = tonumber(ARGV[1]), tonumber(ARGV[3]), ARGV[5]
local over = over_by_both(now)
local birth = created(KEYS[2], now, ARGV[2])
local cutoff = birth and subject_of(KEYS[1], birth, now, over)
if not cutoff then
  return no_answer('subject')
end
local all = birth.all and birth.all_until > over and text(birth.all) or ''
local answer = {
  cutoff.i and text(cutoff.i) or '', cutoff.e or '', cutoff.f and text(cutoff.f) or '', all,
  text(redis.call('EXISTS', KEYS[4])),
}

local function add(from, to)
  for _, word in ipairs(redis.call('ZREVRANGE', KEYS[3], text(from), text(to), 'WITHSCORES')) do
    answer[#answer + 1] = word
  end
end

if not last then
  add(0, count - 1)
  return answer
end
local rank = redis.call('ZREVRANK', KEYS[3], last)
if not rank then
  -- It has ended meanwhile: where it would be. First come those begun later, then, of its second, those of a greater name.
  rank = redis.call('ZCOUNT', KEYS[3], '(' .. ARGV[4], '+inf')
  local name = redis.call('ZREVRANGE', KEYS[3], text(rank), text(rank))[1]
  while name and name > last and tonumber(redis.call('ZSCORE', KEYS[3], name)) == tonumber(ARGV[4]) do
    rank = rank + 1
    name = redis.call('ZREVRANGE', KEYS[3], text(rank), text(rank))[1]
  end
  rank = rank - 1
end
add(rank + 1, rank + count)
return answer
