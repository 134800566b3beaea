-- KEYS: user, global, index, ended
-- ARGV: prefix, limit, locator, id or empty (all of the user's)
local answer = {'purged', redis.call('GET', KEYS[1]) or '', redis.call('GET', KEYS[2]) or '', 0}
local limit, ids = tonumber(ARGV[2]), {ARGV[4]}
if ARGV[4] == '' then
  ids = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', '(+inf', 'LIMIT', 0, limit)
  for _, id in ipairs(redis.call('ZRANGE', KEYS[4], 0, limit - 1)) do ids[#ids + 1] = id end
end
for n = 1, math.min(#ids, limit) do
  local s = redis.call('GET', ARGV[1] .. ids[n])
  if s and cut(s, 4, 8) ~= ARGV[3] then return {'elsewhere', cut(s, 4, 8)} end
  if s then answer[#answer + 1] = s end
  redis.call('DEL', ARGV[1] .. ids[n])
  redis.call('ZREM', KEYS[3], ids[n])
  redis.call('ZREM', KEYS[4], ids[n])
end
if ARGV[4] == '' then
  answer[4] = redis.call('ZCOUNT', KEYS[3], '-inf', '(+inf') + redis.call('ZCARD', KEYS[4])
end
return answer
