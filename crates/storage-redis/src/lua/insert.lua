-- KEYS: session, user, index, global
-- ARGV: now (8 bytes), max, ttl, mode, value, user id, incarnation, id, deadline, prefix, note, gone: what ended before may go
-- Where nobody had to make room answers one string, the epochs of the stamp: the caller knows the rest.
local old, u, g, index = call('GET', KEYS[1]), call('GET', KEYS[2]), call('GET', KEYS[4]), KEYS[3]
local now, max, ttl, value, user, id = num(ARGV[1], 0), tonumber(ARGV[2]), ARGV[3], ARGV[5], ARGV[6], ARGV[8]
if old then
  if cut(old, 124, 32) == cut(value, 124, 32) and cut(old, 4, 8) == cut(value, 4, 8) then
    return {'same', old, u or '', g or ''}
  end
  return {'duplicate'}
end
if not g then return {'lost'} end
if u and sub(u, 17) ~= user then return {'collision'} end
-- The user's record and index are one: where one was lost, both begin anew, and what the index forgot is signed out.
local members = call('ZCARD', index)
local fresh = not u or members == 0 or not call('ZSCORE', index, '')
local before = u
if fresh then u = ARGV[7] .. '\0\0\0\0\0\0\0\1' .. user end
local living = {}
if members >= max then
  local ids = call('ZRANGEBYSCORE', index, string.format('(%.0f', now), '(+inf')
  for n = 1, #ids >= max and #ids or 0 do
    local s = call('GETRANGE', ARGV[10] .. ids[n], 0, 175)
    if #s == 0 then
      call('ZREM', index, ids[n])
    elseif live(s, u, g, now) then
      living[#living + 1] = {ARGV[4] == 'idlest' and num(s, 52) or 0, num(s, 76), ids[n]}
    end
  end
  if #living >= max then
    if ARGV[4] == 'reject' then return {'limit', #living} end
    table.sort(living, function(a, b)
      if a[1] ~= b[1] then return a[1] < b[1] end
      if a[2] ~= b[2] then return a[2] < b[2] end
      return a[3] < b[3]
    end)
  end
end
-- Stamped: without flags.
value = sub(value, 1, 1) .. '\0\0\0' .. sub(value, 5, 84) .. sub(u, 1, 16) .. sub(g, 1, 16) .. sub(value, 117)
call('SET', KEYS[1], value, 'PX', ttl)
if fresh then
  call('ZADD', index, ARGV[9], id, '+inf', '')
else
  call('ZADD', index, ARGV[9], id)
end
if not before then
  call('SET', KEYS[2], u, 'PX', ttl)
  if members == 0 then call('PEXPIRE', index, ttl) else outlive(index, tonumber(ttl)) end
elseif fresh then
  call('SET', KEYS[2], u, 'KEEPTTL')
  outlive(KEYS[2], tonumber(ttl))
  outlive(index, call('PTTL', KEYS[2]))
elseif call('PTTL', KEYS[2]) < tonumber(ttl) then
  -- The index lives as long as the record.
  call('PEXPIRE', KEYS[2], ttl)
  call('PEXPIRE', index, ttl)
end
local answer = {'inserted', sub(u, 1, 16) .. g}
for n = 1, #living + 1 - max do
  local key = ARGV[10] .. living[n][3]
  answer[#answer + 1] = finish(key, call('GET', key), now, ARGV[11], index, living[n][3])
end
if members > 0 then
  -- What ended long enough ago goes, a little with every insert; so do the oldest of very many ended ones. A key that is on its way to
  -- another node stays for its time to live.
  local gone = call('ZRANGEBYSCORE', index, '-' .. ARGV[12], ARGV[12], 'LIMIT', 0, 100)
  if members > 1000 then
    local ended = call('ZCOUNT', index, '-inf', '(0')
    for n, extra in ipairs(call('ZRANGE', index, 1000, math.max(ended, 1000) - 1)) do gone[#gone + 1] = extra end
  end
  for _, other in ipairs(gone) do
    call('ZREM', index, other)
    redis.pcall('DEL', ARGV[10] .. other)
  end
end
return #answer > 2 and answer or answer[2]
