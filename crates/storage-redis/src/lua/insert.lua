-- KEYS: session, user, index, ended, global
-- ARGV: now, max, ttl, mode, value, user id, incarnation, id, prefix, note, afterlife
local now, max, ttl, mode, value, user = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]
local old, u, g = unpack(redis.call('MGET', KEYS[1], KEYS[2], KEYS[5]))
if old then
  if cut(old, 124, 32) == cut(value, 124, 32) and cut(old, 4, 8) == cut(value, 4, 8) then
    return {'same', old, u or '', g or ''}
  end
  return {'duplicate'}
end
if not g then return {'lost'} end
if u and string.sub(u, 17) ~= user then return {'collision'} end
-- The user's record and index are one: where one was lost, both begin anew, and what the index forgot is signed out.
local fresh = not u or not redis.call('ZSCORE', KEYS[3], '')
if fresh then u = ARGV[7] .. bytes(1) .. user end
local ids = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. ARGV[1], '(+inf')
local living = {}
if #ids >= max then
  for _, id in ipairs(ids) do
    local s = redis.call('GETRANGE', ARGV[9] .. id, 0, 175)
    if #s == 0 then
      redis.call('ZREM', KEYS[3], id)
    elseif live(s, u, g, now) then
      living[#living + 1] = {mode == 'idlest' and num(s, 52) or 0, num(s, 76), id}
    end
  end
end
if #living >= max then
  if mode == 'reject' then return {'limit', #living} end
  table.sort(living, function(a, b)
    if a[1] ~= b[1] then return a[1] < b[1] end
    if a[2] ~= b[2] then return a[2] < b[2] end
    return a[3] < b[3]
  end)
end
-- Stamped: without flags.
value = cut(value, 0, 1) .. '\0\0\0' .. cut(value, 4, 80) .. cut(u, 0, 16) .. cut(g, 0, 16) .. string.sub(value, 117)
redis.call('SET', KEYS[1], value, 'PX', ttl)
redis.call('ZADD', KEYS[3], math.min(num(value, 60), num(value, 68)), ARGV[8])
if fresh then
  redis.call('SET', KEYS[2], u, 'KEEPTTL')
  redis.call('ZADD', KEYS[3], '+inf', '')
end
local answer = {'inserted', value, u, g}
for n = 1, #living + 1 - max do
  local key = ARGV[9] .. living[n][3]
  answer[#answer + 1] = finish(key, redis.call('GET', key), now, ARGV[10], KEYS[3], KEYS[4], living[n][3])
end
outlive(KEYS[2], ttl)
outlive(KEYS[3], ttl)
local gone = now - tonumber(ARGV[11])
-- What ended long enough ago goes, a little with every insert; so do the oldest of very many ended ones. A key that
-- is on its way to another node stays for its time to live.
for key, range in pairs({
  [KEYS[3]] = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', gone, 'LIMIT', 0, 100),
  [KEYS[4]] = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', gone, 'LIMIT', 0, 100),
}) do
  for _, id in ipairs(range) do
    redis.call('ZREM', key, id)
    redis.pcall('DEL', ARGV[9] .. id)
  end
end
if redis.call('ZCARD', KEYS[4]) > 1000 then
  for _, id in ipairs(redis.call('ZRANGE', KEYS[4], 0, -1001)) do
    redis.call('ZREM', KEYS[4], id)
    redis.pcall('DEL', ARGV[9] .. id)
  end
end
return answer
