-- What every script begins with. Numbers are big-endian; times are signed, generations and versions are added to as bytes, exactly.
local function num(s, at) return (struct.unpack('>i8', s, at + 1)) end
local function bytes(n) return struct.pack('>i8', n) end
local function cut(s, at, length) return string.sub(s, at + 1, at + length) end
local function plus(s, n)
  local high, low = struct.unpack('>I4I4', s)
  low = low + n
  if low < 4294967296 then return struct.pack('>I4I4', high, low) end
  if high == 4294967295 then return string.rep('\255', 8) end
  return struct.pack('>I4I4', high + 1, low - 4294967296)
end
local function less(a, b)
  local ah, al = struct.unpack('>I4I4', a)
  local bh, bl = struct.unpack('>I4I4', b)
  return ah < bh or (ah == bh and al < bl)
end
local function live(s, u, g, now)
  if string.byte(s, 2) % 4 > 0 or num(s, 68) <= now or num(s, 60) <= now then return false end
  if not u or not g or cut(s, 84, 16) ~= cut(u, 0, 16) or cut(s, 100, 8) ~= cut(g, 0, 8) then return false end
  if cut(s, 108, 8) == cut(g, 8, 8) then return true end
  return plus(cut(s, 108, 8), 1) == cut(g, 8, 8) and now < num(g, 24)
end
local function outlive(key, ttl)
  if redis.call('PTTL', key) < ttl then redis.call('PEXPIRE', key, ttl) end
end
-- Ends a live session and returns it as it then is.
local function finish(key, s, now, note, index, ended, id)
  s = cut(s, 0, 1) .. string.char(string.byte(s, 2) + 1) .. cut(s, 2, 26) .. plus(cut(s, 28, 8), 1) .. cut(s, 36, 80)
    .. bytes(now) .. string.sub(s, 125) .. note
  redis.call('SET', key, s, 'KEEPTTL')
  redis.call('ZREM', index, id)
  redis.call('ZADD', ended, num(s, 68), id)
  outlive(ended, redis.call('PTTL', key))
  return s
end
