#!lua
-- Reads a value, or takes the lease to fill it.
--
-- KEYS: the cache key. ARGV: the epoch that is trusted, a fresh token, the lease's life (ms).
-- Returns {'hit', value}, {'busy'} while another one holds the lease, or {'lease', placeholder}
-- for the caller to fill.
--
-- No shebang flags: the script counts as writing, so a read-only replica refuses it, reads too.

-- Every entry ends with its epoch. What does not end so is of another epoch, or not ours: a miss.
local tag = '"_epoch":"' .. ARGV[1] .. '"}'
local found = redis.pcall('GET', KEYS[1])
if type(found) == 'string' and string.sub(found, -#tag) == tag then
  if string.sub(found, 1, 11) == '{"_lease":"' then
    return { 'busy' }
  end
  return { 'hit', found }
end

local placeholder = '{"_lease":"' .. ARGV[2] .. '",' .. tag
redis.call('SET', KEYS[1], placeholder, 'PX', ARGV[3])
return { 'lease', placeholder }
