#!lua
-- Reads a value, or takes the lease to fill it.
--
-- KEYS: the cache key, the epoch key.
-- ARGV: a fresh token, the lease's life (ms), an epoch to begin with where there is none.
-- Returns {'hit', value}, {'busy'} while another one holds the lease, or {'lease', placeholder,
-- epoch} for the caller to fill.
--
-- No shebang flags: the script counts as writing, so a read-only replica refuses it, reads too.

local epoch = redis.call('GET', KEYS[2])
if not epoch then
  epoch = ARGV[3]
  redis.call('SET', KEYS[2], epoch)
end

-- Every entry ends with its epoch. What does not end so is of another epoch, or not ours: a miss.
local tag = '"_epoch":"' .. epoch .. '"}'
local found = redis.pcall('GET', KEYS[1])
if type(found) == 'string' and string.sub(found, -#tag) == tag then
  if string.sub(found, 1, 11) == '{"_lease":"' then
    return { 'busy' }
  end
  return { 'hit', found }
end

local placeholder = '{"_lease":"' .. ARGV[1] .. '",' .. tag
redis.call('SET', KEYS[1], placeholder, 'PX', ARGV[2])
return { 'lease', placeholder, epoch }
