-- KEYS: session, its revoked tokens, birth. ARGV: now, known horizon, token, session start.
-- What the session's slot says: verdict, generations, since when it has records, and of the record the incarnation and
-- whether it is unattested.
local now, token, start = tonumber(ARGV[1]), ARGV[3], tonumber(ARGV[4])
local over = over_by_both(now)
local birth = created(KEYS[3], now, ARGV[2])
local session = birth and session_of(KEYS[1], birth, now, over)
if not session then
  return no_answer('session')
end
local verdict, ago = 'unrecorded', '0'
if (session.x and session.x > over) or is_all_revoked(birth, start, over)
  or token_until(KEYS[2], birth, now, over, token) > over then
  verdict = 'revoked'
elseif session.h and session.u > now then
  verdict, ago = 'recorded', text(generations(token, now, session) or 0)
end
return { verdict, ago, text(birth.since), session.i or '', session.o or '' }
