-- A key lives at least as long as what it is about.
local function outlive(key, ttl)
  if call('PTTL', key) < ttl then call('PEXPIRE', key, ttl) end
end
