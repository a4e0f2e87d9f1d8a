#!lua flags=allow-oom
-- Gives a lease back, if it is still there. It frees memory, so a full server must not refuse it.
--
-- KEYS: the cache key. ARGV: the lease's placeholder.

if redis.pcall('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
