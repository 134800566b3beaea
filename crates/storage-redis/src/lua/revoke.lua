-- KEYS: session, user, global, index, ended
-- ARGV: now, locator, heal ("1" or ""), owner's locator or empty, note, id
local now = tonumber(ARGV[1])
local s, u, g = unpack(redis.call('MGET', KEYS[1], KEYS[2], KEYS[3]))
if not s or (ARGV[4] ~= '' and cut(s, 4, 8) ~= ARGV[4]) then return {'absent'} end
if cut(s, 4, 8) ~= ARGV[2] then return {'elsewhere', cut(s, 4, 8)} end
if not g and ARGV[3] == '1' then return {'lost'} end
if not live(s, u, g, now) then return {'ended'} end
return {'revoked', finish(KEYS[1], s, now, ARGV[5], KEYS[4], KEYS[5], ARGV[6]), u, g}
