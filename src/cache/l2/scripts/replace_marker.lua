#!lua flags=allow-oom
-- Sets another marker in the place of the one that was read, unless that has changed.
--
-- It is small, so a full server must not refuse it.
--
-- KEYS: the marker's key. ARGV: the four fields that were read, as read_marker.lua gives them, then
-- the four of the new one. Returns 1 if it was set.

local found = redis.pcall('HMGET', KEYS[1], 'epoch', 'database', 'timeline', 'revoked')
for at = 1, 4 do
  if (found[at] or '') ~= ARGV[at] then
    return 0
  end
end
-- Whatever stood there.
redis.call('DEL', KEYS[1])
redis.call(
  'HSET', KEYS[1], 'epoch', ARGV[5], 'database', ARGV[6], 'timeline', ARGV[7], 'revoked', ARGV[8]
)
return 1
