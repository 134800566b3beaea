-- KEYS: external
-- ARGV: holder (id and locator)
return redis.call('ZREM', KEYS[1], ARGV[1])
