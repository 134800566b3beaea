-- KEYS: authority
-- ARGV: record without its order
local old = call('GET', KEYS[1])
if old and (cut(old, 0, 8) ~= cut(ARGV[1], 0, 8) or not less(cut(old, 8, 8), cut(ARGV[1], 8, 8))) then return '' end
local time = call('TIME')
local g = ARGV[1] .. bytes(math.max(old and num(old, 32) + 1 or 0, time[1] * 1000 + math.floor(time[2] / 1000)))
call('SET', KEYS[1], g)
return g
