-- KEYS: user, global, index
-- ARGV: now, locator, heal ("1" or ""), note, excepted id or empty, prefix, user id
local now = tonumber(ARGV[1])
local u, g = call('GET', KEYS[1]), call('GET', KEYS[2])
if not u or sub(u, 17) ~= ARGV[7] then return {'revoked', u or '', g or ''} end
if not g and ARGV[3] == '1' then return {'lost'} end
local answer = {'revoked', u, g or ''}
for _, id in ipairs(call('ZRANGEBYSCORE', KEYS[3], '(' .. ARGV[1], '(+inf')) do
  local key = ARGV[6] .. id
  local s = call('GET', key)
  if not s then
    call('ZREM', KEYS[3], id)
  elseif id ~= ARGV[5] and live(s, u, g, now) then
    answer[#answer + 1] = finish(key, s, now, ARGV[4], KEYS[3], id)
  end
end
local whole = call('ZSCORE', KEYS[3], '')
if ARGV[5] ~= '' and whole then return answer end
-- All of theirs, or an index that was lost: the epoch ends what the index does not know. The excepted session moves along.
local raised = cut(u, 0, 8) .. plus(cut(u, 8, 8), 1)
if ARGV[5] ~= '' then
  local key = ARGV[6] .. ARGV[5]
  local s = call('GETRANGE', key, 0, 175)
  if #s > 0 and cut(s, 4, 8) == ARGV[2] and live(s, u, g, now) then
    call('SETRANGE', key, 84, raised)
    call('ZADD', KEYS[3], math.min(num(s, 60), num(s, 68)), ARGV[5])
  end
end
call('SET', KEYS[1], raised .. ARGV[7], 'KEEPTTL')
call('ZADD', KEYS[3], '+inf', '')
outlive(KEYS[3], call('PTTL', KEYS[1]))
return answer
