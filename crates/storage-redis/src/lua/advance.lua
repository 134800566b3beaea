-- KEYS: session, user, global
-- ARGV: now (8 bytes), heal ("1" or ""), locator and presented generation (16 bytes), next generation (8 bytes)
-- In the ordinary case answers one string: the session as it was, since what changed the caller knows, and the global epoch. The user's is the
-- one in the session's stamp: otherwise it would not live.
local s, u, g = call('GET', KEYS[1]), call('GET', KEYS[2]), call('GET', KEYS[3])
if not s then return {'missing'} end
local aim, now = ARGV[3], ARGV[1]
local found = sub(s, 5, 20)
if found ~= aim and sub(found, 1, 8) ~= sub(aim, 1, 8) then return {'elsewhere', sub(found, 1, 8)} end
if not g and ARGV[2] == '1' then return {'lost'} end
if found == aim and live(s, u, g, num(now, 0)) then
  call('SETRANGE', KEYS[1], 12, ARGV[4] .. sub(s, 21, 28) .. plus(sub(s, 29, 36), 1) .. now .. sub(s, 37, 44))
  return s .. g
end
return {'judge', s, u or '', g or ''}
