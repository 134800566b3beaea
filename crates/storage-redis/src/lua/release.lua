-- KEYS: external
-- ARGV: holder (id and locator)
return call('ZREM', KEYS[1], ARGV[1])
