-- KEYS: external
-- ARGV: holder (id and locator)
local held = redis.call('GET', KEYS[1])
if held and cut(held, 0, 24) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
