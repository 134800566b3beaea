-- KEYS: session, user, global, index
-- ARGV: now (8 bytes), heal ("1" or ""), locator, owner's locator or empty, note, id
-- In the ordinary case answers one string: the session as it is.
local s, u, g = call('GET', KEYS[1]), call('GET', KEYS[2]), call('GET', KEYS[3])
if not s then return {'absent'} end
local found, now = sub(s, 5, 12), num(ARGV[1], 0)
if ARGV[4] ~= '' and found ~= ARGV[4] then return {'absent'} end
if found ~= ARGV[3] then return {'elsewhere', found} end
if not g and ARGV[2] == '1' then return {'lost'} end
if not live(s, u, g, now) then return {'ended'} end
return finish(KEYS[1], s, now, ARGV[5], KEYS[4], ARGV[6])
