-- KEYS: entry, or a user's or everybody's tombstone
-- ARGV: milliseconds
-- A tombstone is an empty string. One that stands longer stays.
if call('GET', KEYS[1]) ~= '' or call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then call('SET', KEYS[1], '', 'PX', ARGV[1]) end
return 1
