-- KEYS: session, user, global, index
-- ARGV: now (8 bytes), heal ("1" or ""), locator, last activity, idle deadline, last activity must lie before (8 bytes each), id
local s = call('GETRANGE', KEYS[1], 0, 175)
if #s == 0 then return {'skipped'} end
if cut(s, 4, 8) ~= ARGV[3] then return {'elsewhere', cut(s, 4, 8)} end
local u, g = call('GET', KEYS[2]), call('GET', KEYS[3])
if not g and ARGV[2] == '1' then return {'lost'} end
local seen, old, expires = unbytes('>i8i8i8', s, 53)
if seen >= num(ARGV[6], 0) or not live(s, u, g, num(ARGV[1], 0)) then return {'skipped'} end
local idle = math.max(old, num(ARGV[5], 0))
call('SETRANGE', KEYS[1], 52, ARGV[4] .. bytes(math.min(idle, expires)))
-- An index that had lost the session has it again.
if call('ZADD', KEYS[4], math.min(idle, expires), ARGV[7]) == 1 then outlive(KEYS[4], call('PTTL', KEYS[1])) end
return {'touched'}
