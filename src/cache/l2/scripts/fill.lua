#!lua
-- Stores a value, if the very lease under which it was loaded is still there.
--
-- KEYS: the cache key. ARGV: the lease's placeholder, the value, its life (ms).
-- Returns 1 if it was stored.

if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
