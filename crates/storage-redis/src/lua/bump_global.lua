-- KEYS: authority
-- ARGV: now, incarnation, expected version or empty, end of the grace or 0, anew ("1" or ""), a copy that knows more (or empty)
local now, ahead = tonumber(ARGV[1]), ARGV[6]
local old = call('GET', KEYS[1])
local first = ARGV[2] .. bytes(1)
local g = old or (first .. bytes(0) .. bytes(0) .. bytes(now))
local version = cut(g, 8, 8)
if ARGV[3] ~= '' then
  local begun = ARGV[5] == '1' and old and cut(g, 0, 16) == first
  if begun or (ARGV[5] ~= '1' and version ~= ARGV[3] and version == plus(ARGV[3], 1)) then
    return {'repeated', old or '', old or ''}
  end
  if version ~= ARGV[3] then return {'conflict', version} end
end
-- The order between incarnations: it rises also when the record itself was lost.
local order = math.max(num(g, 32) + 1, now)
if ahead ~= '' then
  order = math.max(order, num(ahead, 32) + 1)
  if cut(ahead, 0, 8) == cut(g, 0, 8) and less(version, cut(ahead, 8, 8)) then version = cut(ahead, 8, 8) end
end
if ARGV[5] == '1' then
  g = first .. bytes(now) .. bytes(0) .. bytes(order)
else
  g = cut(g, 0, 8) .. plus(version, 1) .. bytes(now) .. bytes(tonumber(ARGV[4])) .. bytes(order)
end
call('SET', KEYS[1], g)
return {'applied', old or '', g}
