#!lua flags=allow-oom
-- Moves the marker on, if it is still of the epoch of whoever does.
--
-- It is small, so a full server must not refuse it.
--
-- KEYS: the marker's key. ARGV: the fields: epoch, database, timeline, revoked.

if redis.pcall('HGET', KEYS[1], 'epoch') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'database', ARGV[2], 'timeline', ARGV[3], 'revoked', ARGV[4])
end
