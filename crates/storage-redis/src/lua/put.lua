-- KEYS: session, user, index, ended
-- ARGV: value, id, user's epoch (16 bytes, or empty), user id, afterlife
local value, user = ARGV[1], ARGV[4]
local old, u = unpack(redis.call('MGET', KEYS[1], KEYS[2]))
if u and string.sub(u, 17) ~= user then return {'collision'} end
if old then
  if cut(old, 4, 8) ~= cut(value, 4, 8) or string.byte(old, 2) % 2 == 1 or not less(cut(old, 28, 8), cut(value, 28, 8)) then
    return {'kept'}
  end
end
local time = redis.call('TIME')
local ttl = math.max(num(value, 68) - time[1] * 1000, 0) + tonumber(ARGV[5])
if ARGV[3] ~= '' then
  if not u then
    redis.call('SET', KEYS[2], ARGV[3] .. user, 'PX', ttl)
    redis.call('ZADD', KEYS[3], '+inf', '')
  elseif cut(u, 0, 8) == cut(ARGV[3], 0, 8) and less(cut(u, 8, 8), cut(ARGV[3], 8, 8)) then
    redis.call('SET', KEYS[2], ARGV[3] .. user, 'KEEPTTL')
  end
end
redis.call('SET', KEYS[1], value, 'PX', ttl)
if string.byte(value, 2) % 2 == 1 then
  redis.call('ZREM', KEYS[3], ARGV[2])
  redis.call('ZADD', KEYS[4], num(value, 68), ARGV[2])
else
  redis.call('ZADD', KEYS[3], math.min(num(value, 60), num(value, 68)), ARGV[2])
end
for n = 2, 4 do outlive(KEYS[n], ttl) end
return {'written', old or ''}
