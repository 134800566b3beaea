-- KEYS: user, global, index
-- ARGV: now, note, prefix, active before (or empty), then id and version in turn
local now = tonumber(ARGV[1])
local u, g = call('GET', KEYS[1]), call('GET', KEYS[2])
local found, answer = {}, {'revoked', u or '', g or ''}
for n = 5, #ARGV, 2 do
  local s = call('GET', ARGV[3] .. ARGV[n])
  if not s or cut(s, 28, 8) ~= ARGV[n + 1] then return {'changed'} end
  if ARGV[4] ~= '' and num(s, 52) >= tonumber(ARGV[4]) then return {'changed'} end
  found[n] = s
end
for n = 5, #ARGV, 2 do
  if live(found[n], u, g, now) then
    answer[#answer + 1] = finish(ARGV[3] .. ARGV[n], found[n], now, ARGV[2], KEYS[3], ARGV[n])
  end
end
return answer
