-- KEYS: copy (or authority)
-- ARGV: record
-- Answers "" when it was written or stood there already, and otherwise the record that stands. Within an incarnation the version
-- decides, and between incarnations the order.
local new, old = ARGV[1], call('GET', KEYS[1])
if old == new then return '' end
if old then
  local refused = num(old, 32) >= num(new, 32)
  if cut(old, 0, 8) == cut(new, 0, 8) then refused = not less(cut(old, 8, 8), cut(new, 8, 8)) end
  if refused then return old end
end
call('SET', KEYS[1], new)
return ''
