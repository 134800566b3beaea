-- KEYS: session, user, index
-- ARGV: value, id, user's epoch (16 bytes, or empty), user id, afterlife
local value, user = ARGV[1], ARGV[4]
local old, u = call('GET', KEYS[1]), call('GET', KEYS[2])
if u and sub(u, 17) ~= user then return {'collision'} end
if old then
  if cut(old, 4, 8) ~= cut(value, 4, 8) or byte(old, 2) % 2 == 1 or not less(cut(old, 28, 8), cut(value, 28, 8)) then
    return {'kept'}
  end
end
local time = call('TIME')
local idle, expires = unbytes('>i8i8', value, 61)
local ttl = math.max(expires - time[1] * 1000, 0) + tonumber(ARGV[5])
if ARGV[3] ~= '' then
  if not u then
    call('SET', KEYS[2], ARGV[3] .. user, 'PX', ttl)
    call('ZADD', KEYS[3], '+inf', '')
  elseif cut(u, 0, 8) == cut(ARGV[3], 0, 8) and less(cut(u, 8, 8), cut(ARGV[3], 8, 8)) then
    call('SET', KEYS[2], ARGV[3] .. user, 'KEEPTTL')
  end
end
call('SET', KEYS[1], value, 'PX', ttl)
call('ZADD', KEYS[3], byte(value, 2) % 2 == 1 and -expires or math.min(idle, expires), ARGV[2])
for n = 2, 3 do outlive(KEYS[n], ttl) end
return {'written', old or ''}
