-- What every script begins with. Numbers are big-endian; times are signed, generations and versions are added to as bytes, exactly.
local call, sub, byte, pack, unbytes = redis.call, string.sub, string.byte, struct.pack, struct.unpack
local function num(s, at) return (unbytes('>i8', s, at + 1)) end
local function bytes(n) return pack('>i8', n) end
local function cut(s, at, length) return sub(s, at + 1, at + length) end
local function plus(s, n)
  local high, low = unbytes('>I4I4', s)
  low = low + n
  if low < 4294967296 then return pack('>I4I4', high, low) end
  if high == 4294967295 then return string.rep('\255', 8) end
  return pack('>I4I4', high + 1, low - 4294967296)
end
