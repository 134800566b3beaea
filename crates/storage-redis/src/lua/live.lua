-- Whether a session lives: the same rule as core's, on the stored forms of the session, its user's epoch and the global one.
local function live(s, u, g, now)
  if byte(s, 2) % 4 > 0 or not u or not g then return false end
  local idle, expires = unbytes('>i8i8', s, 61)
  if idle <= now or expires <= now or sub(s, 85, 100) ~= sub(u, 1, 16) then return false end
  if sub(s, 101, 116) == sub(g, 1, 16) then return true end
  return sub(s, 101, 108) == sub(g, 1, 8) and plus(sub(s, 109, 116), 1) == sub(g, 9, 16) and now < num(g, 24)
end
