#!lua flags=allow-oom
-- Removes a value, or the lease of whoever is filling it, of whichever epoch.
--
-- It frees memory, so a full server must not refuse it.
--
-- KEYS: the cache key. ARGV: the epoch that is trusted, or nothing.
-- Returns 1 if a value was removed that would have been served.

local found = redis.pcall('GET', KEYS[1])
redis.call('DEL', KEYS[1])
if type(found) ~= 'string' or string.sub(found, 1, 11) == '{"_lease":"' then
  return 0
end
local tag = '"_epoch":"' .. ARGV[1] .. '"}'
return string.sub(found, -#tag) == tag and 1 or 0
