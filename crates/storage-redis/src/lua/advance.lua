-- KEYS: session, user, global
-- ARGV: now, locator, heal ("1" or ""), presented, next
local now = tonumber(ARGV[1])
local s, u, g = unpack(redis.call('MGET', KEYS[1], KEYS[2], KEYS[3]))
if not s then return {'missing'} end
if cut(s, 4, 8) ~= ARGV[2] then return {'elsewhere', cut(s, 4, 8)} end
if not g and ARGV[3] == '1' then return {'lost'} end
if cut(s, 12, 8) == ARGV[4] and live(s, u, g, now) then
  local control = ARGV[5] .. cut(s, 20, 8) .. plus(cut(s, 28, 8), 1) .. bytes(now) .. cut(s, 36, 8)
  redis.call('SETRANGE', KEYS[1], 12, control)
  return {'advanced', cut(s, 0, 12) .. control .. string.sub(s, 53), u, g}
end
return {'judge', s, u or '', g or ''}
