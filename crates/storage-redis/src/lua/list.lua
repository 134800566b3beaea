-- KEYS: user, global, index, ended
-- ARGV: from score, with ended ("1" or ""), prefix
local answer = {redis.call('GET', KEYS[1]) or '', redis.call('GET', KEYS[2]) or ''}
local function take(index, ids)
  for _, id in ipairs(ids) do
    local s = redis.call('GET', ARGV[3] .. id)
    if s then answer[#answer + 1] = s else redis.call('ZREM', index, id) end
  end
end
take(KEYS[3], redis.call('ZRANGEBYSCORE', KEYS[3], ARGV[1], '(+inf'))
if ARGV[2] == '1' then take(KEYS[4], redis.call('ZRANGE', KEYS[4], 0, -1)) end
return answer
