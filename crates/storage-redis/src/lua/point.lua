-- KEYS: external
-- ARGV: holder (id and locator), absolute deadline, deadlines that are long past, ttl
call('ZADD', KEYS[1], ARGV[2], ARGV[1])
call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
outlive(KEYS[1], tonumber(ARGV[4]))
return 1
