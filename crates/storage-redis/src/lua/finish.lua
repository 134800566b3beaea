-- Ends a live session and returns it as it then is. In its user's index ended sessions have the opposite of their absolute deadline, so that
-- this is one command and every range of live ones passes them by.
local function finish(key, s, now, note, index, id)
  s = sub(s, 1, 1) .. string.char(byte(s, 2) + 1) .. sub(s, 3, 28) .. plus(sub(s, 29, 36), 1) .. sub(s, 37, 116)
    .. bytes(now) .. sub(s, 125) .. note
  call('SET', key, s, 'KEEPTTL')
  -- An index that had lost it has it again.
  if call('ZADD', index, -num(s, 68), id) == 1 then outlive(index, call('PTTL', key)) end
  return s
end
