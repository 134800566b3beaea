-- KEYS: entries, or users' or everybody's tombstones
-- ARGV: milliseconds
-- A tombstone is an empty string. One that stands longer stays.
for _, key in ipairs(KEYS) do
  if call('GET', key) ~= '' or call('PTTL', key) < tonumber(ARGV[1]) then call('SET', key, '', 'PX', ARGV[1]) end
end
return 1
