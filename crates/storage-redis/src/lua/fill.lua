-- KEYS: entry, user's tombstone, everybody's tombstone, since
-- ARGV: value (its ticket, then its version), how old its ticket may be, and how long it is good (microseconds)
local value, ticket = ARGV[1], num(ARGV[1], 0)
local time, since = call('TIME'), call('GET', KEYS[4])
local age = time[1] * 1000000 + time[2] - ticket
local left = math.ceil((tonumber(ARGV[3]) - age) / 1000)
if not since or ticket < tonumber(since) or age < 0 or age > tonumber(ARGV[2]) or left < 1 then return 0 end
local old = call('GET', KEYS[1])
if old == '' or call('EXISTS', KEYS[2], KEYS[3]) > 0 then return 0 end
if old then
  local theirs, ours = cut(old, 8, 8), cut(value, 8, 8)
  if less(ours, theirs) or (ours == theirs and num(old, 0) > ticket) then return 0 end
end
call('SET', KEYS[1], value, 'PX', left)
return 1
