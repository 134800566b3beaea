-- KEYS: session, user, global, index
-- ARGV: now, locator, heal ("1" or ""), last activity, idle deadline, last activity must lie before, id
local seen, idle = tonumber(ARGV[4]), tonumber(ARGV[5])
local s = redis.call('GETRANGE', KEYS[1], 0, 175)
if #s == 0 then return {'skipped'} end
if cut(s, 4, 8) ~= ARGV[2] then return {'elsewhere', cut(s, 4, 8)} end
local u, g = unpack(redis.call('MGET', KEYS[2], KEYS[3]))
if not g and ARGV[3] == '1' then return {'lost'} end
if num(s, 52) >= tonumber(ARGV[6]) or not live(s, u, g, tonumber(ARGV[1])) then return {'skipped'} end
idle = math.min(math.max(num(s, 60), idle), num(s, 68))
redis.call('SETRANGE', KEYS[1], 52, bytes(seen) .. bytes(idle))
-- An index that had lost the session has it again.
if redis.call('ZADD', KEYS[4], idle, ARGV[7]) == 1 then outlive(KEYS[4], redis.call('PTTL', KEYS[1])) end
return {'touched'}
