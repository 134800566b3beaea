-- KEYS: user, global, index
-- ARGV: from score, prefix
local answer = {call('GET', KEYS[1]) or '', call('GET', KEYS[2]) or ''}
for _, id in ipairs(call('ZRANGEBYSCORE', KEYS[3], ARGV[1], '(+inf')) do
  local s = call('GET', ARGV[2] .. id)
  if s then answer[#answer + 1] = s else call('ZREM', KEYS[3], id) end
end
return answer
