-- KEYS: external
-- ARGV: holder (id and locator), since, ttl, the reservation that may be taken over (or empty)
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[4] then
  if cut(held, 0, 24) ~= ARGV[1] then return {'taken', held} end
  outlive(KEYS[1], tonumber(ARGV[3]))
  return {'own'}
end
redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2], 'PX', ARGV[3])
return {'new'}
