-- KEYS: user, global, index, kept session (or user again)
-- ARGV: now, locator, heal ("1" or ""), user id, incarnation, expected version or empty, keep ("1" or ""), anew ("1" or ""), ttl
local now, user = tonumber(ARGV[1]), ARGV[4]
local u, g = call('GET', KEYS[1]), call('GET', KEYS[2])
if u and sub(u, 17) ~= user then return {'collision'} end
if not g and ARGV[3] == '1' then return {'lost'} end
local before = u or ''
local first = ARGV[5] .. bytes(1)
local epoch = u and cut(u, 0, 16) or first
local version, applied = cut(epoch, 8, 8), true
local begun = ARGV[8] == '1' and u and epoch == first
if ARGV[6] ~= '' then
  if begun then
    applied = false
  elseif version ~= ARGV[6] then
    if ARGV[8] == '1' or version ~= plus(ARGV[6], 1) then return {'conflict', version} end
    applied = false
  end
end
local s = ''
if ARGV[7] == '1' then
  s = call('GET', KEYS[4])
  if s and cut(s, 4, 8) ~= ARGV[2] then s = false end
end
if not applied then return {'repeated', before, before, g or '', s or ''} end
if not s or (s ~= '' and not live(s, u, g, now)) then return {'keep_ended'} end
epoch = ARGV[8] == '1' and first or (cut(epoch, 0, 8) .. plus(version, 1))
if u then
  call('SET', KEYS[1], epoch .. user, 'KEEPTTL')
else
  call('SET', KEYS[1], epoch .. user, 'PX', ARGV[9])
  call('ZADD', KEYS[3], '+inf', '')
  outlive(KEYS[3], tonumber(ARGV[9]))
end
if s ~= '' then
  local generation = plus(cut(s, 12, 8), 2)
  s = cut(s, 0, 12) .. generation .. generation .. plus(cut(s, 28, 8), 1) .. bytes(now) .. cut(s, 36, 8)
    .. cut(s, 52, 32) .. epoch .. cut(g, 0, 16) .. sub(s, 117)
  call('SET', KEYS[4], s, 'KEEPTTL')
end
return {'applied', before, epoch .. user, g or '', s}
