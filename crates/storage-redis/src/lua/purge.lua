-- KEYS: user, global, index
-- ARGV: prefix, limit, locator, id or empty (all of the user's)
local answer = {'purged', call('GET', KEYS[1]) or '', call('GET', KEYS[2]) or '', 0}
local limit, ids = tonumber(ARGV[2]), {ARGV[4]}
if ARGV[4] == '' then ids = call('ZRANGEBYSCORE', KEYS[3], '-inf', '(+inf', 'LIMIT', 0, limit) end
for n = 1, math.min(#ids, limit) do
  local s = call('GET', ARGV[1] .. ids[n])
  if s and cut(s, 4, 8) ~= ARGV[3] then return {'elsewhere', cut(s, 4, 8)} end
  if s then answer[#answer + 1] = s end
  call('DEL', ARGV[1] .. ids[n])
  call('ZREM', KEYS[3], ids[n])
end
if ARGV[4] == '' then answer[4] = call('ZCOUNT', KEYS[3], '-inf', '(+inf') end
return answer
