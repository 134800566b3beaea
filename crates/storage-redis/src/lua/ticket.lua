-- KEYS: since
-- Answers the time in microseconds. A server that has lost its memory begins a new time: tickets from before it are worth nothing, because
-- their tombstones may be lost.
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
call('SET', KEYS[1], string.format('%.0f', now), 'PX', 86400000, 'NX')
return now
