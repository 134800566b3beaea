-- KEYS: stream
-- ARGV: retention, then subject, phase and time in turn
local time = call('TIME')
local oldest = string.format('%.0f', time[1] * 1000 - tonumber(ARGV[1]))
for n = 2, #ARGV, 3 do
  call('XADD', KEYS[1], 'MINID', '~', oldest, '*', 's', ARGV[n], 'p', ARGV[n + 1], 't', ARGV[n + 2])
end
return 1
