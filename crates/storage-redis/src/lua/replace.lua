-- KEYS: session, user, global
-- ARGV: now, locator, heal ("1" or ""), expected version, control (40 bytes from offset 12), length, id and body (or empty: as they are)
local now = tonumber(ARGV[1])
local s, u, g = call('GET', KEYS[1]), call('GET', KEYS[2]), call('GET', KEYS[3])
if not s then return {'missing'} end
if cut(s, 4, 8) ~= ARGV[2] then return {'elsewhere', cut(s, 4, 8)} end
if not g and ARGV[3] == '1' then return {'lost'} end
if cut(s, 28, 8) == ARGV[4] and live(s, u, g, now) then
  local body = ARGV[6] ~= '' and ARGV[6] or sub(s, 157)
  s = cut(s, 0, 12) .. ARGV[5] .. cut(s, 52, 104) .. body
  call('SET', KEYS[1], s, 'KEEPTTL')
  return {'replaced', s, u, g}
end
return {'judge', s, u or '', g or ''}
