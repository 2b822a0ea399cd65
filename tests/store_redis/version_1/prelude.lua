-- Common to all scripts. Instants are whole seconds since 1970, in decimal.
--
-- The memory limit is judged at a script's first write. So the first write of what may be refused is one that can
-- grow, and no script is left half done.

-- Lua itself would write a large number as 2.5e+11.
local function text(number)
  return string.format('%.0f', number)
end

local function corrupt(what)
  return redis.error_reply('CORRUPT ' .. what)
end

-- Keeps the key at least until `till`. The server's clock removes, and decides nothing: it counts from the caller's
-- now, and a minute longer, for clocks that differ.
local function keep(key, now, till)
  local ttl = (till - now + 60) * 1000
  if redis.call('PTTL', key) < ttl then
    redis.call('PEXPIRE', key, text(ttl))
  end
end

-- When this slot's records began, the name of their incarnation, and whether it begins now: the records before it,
-- if there were any, are lost.
local function born(key, now)
  local birth = redis.call('GET', key)
  local reborn = '0'
  if not birth then
    local time = redis.call('TIME')
    -- What began within this second began before the loss, for all that can be told.
    local since = math.max(tonumber(time[1]), now) + 1
    birth = text(since) .. ':' .. time[1] .. '.' .. time[2]
    redis.call('SET', key, birth)
    reborn = '1'
  end
  return tonumber(string.match(birth, '^(%d+):')), birth, reborn
end

-- A session is a hash. Version 1 of a tombstone: `v`, `x` the instant until which it is revoked. Of a chain: `v`,
-- `h` head, `e` until when the head matters, `g` its generation, `a` older tokens (`token:generation:until,`, oldest
-- first), `u` until when the whole matters, `c` claims, `r` when recorded, `s` session start, `p` subject, `i` the
-- incarnation of the subject's records it was written under, `o` 1 where nobody vouches for the time before.
local function is_unreadable(key, v, x, u, h, g, a)
  if not v then
    return redis.call('EXISTS', key) == 1
  end
  if v ~= '1' then
    return true
  end
  if x then
    return tonumber(x) == nil
  end
  return not (h and a and u and g and tonumber(u) and tonumber(g))
end

-- How many generations ago the token was superseded: 0 is the head, nil a stranger.
local function generations(token, now, h, g, a)
  if token == h then
    return 0
  end
  local _, last = string.find(a, token .. ':', 1, true)
  if not last then
    return nil
  end
  local generation, till = string.match(a, '^(%d+):(%d+),', last + 1)
  if not generation then
    return nil
  end
  local ago = tonumber(g) - tonumber(generation)
  -- However late: a lost response is made good as long as the head lives.
  if ago == 1 or tonumber(till) > now then
    return ago
  end
  return nil
end
