#!lua flags=allow-oom
-- Reads the marker.
--
-- KEYS: the marker's key. Returns its fields: epoch, database, timeline, revoked; each empty where
-- there is none, all of them where something else than a hash stands there.
--
-- It does not say no-writes: so it counts as writing, and a read-only replica refuses it.

local found = redis.pcall('HMGET', KEYS[1], 'epoch', 'database', 'timeline', 'revoked')
local fields = {}
for at = 1, 4 do
  fields[at] = found[at] or ''
end
return fields
