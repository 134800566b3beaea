-- KEYS: user
-- ARGV: incarnation that it had (or empty), epoch that it was raised to (16 bytes), user id
-- After a failover: raises what was raised before it, and lowers nothing.
local u = call('GET', KEYS[1])
if not u or sub(u, 17) ~= ARGV[3] then return 0 end
local theirs, ours = sub(u, 1, 8), sub(ARGV[2], 1, 8)
if theirs == ours and less(sub(u, 9, 16), sub(ARGV[2], 9, 16)) or theirs ~= ours and theirs == ARGV[1] then
  call('SET', KEYS[1], ARGV[2] .. ARGV[3], 'KEEPTTL')
  return 1
end
return 0
