-- Which of two generations or versions comes first.
local function less(a, b)
  local ah, al = unbytes('>I4I4', a)
  local bh, bl = unbytes('>I4I4', b)
  return ah < bh or (ah == bh and al < bl)
end
