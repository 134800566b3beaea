-- KEYS: value
-- ARGV: now, until, ttl
local held = call('GET', KEYS[1])
if held and tonumber(held) > tonumber(ARGV[1]) then return 0 end
call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
