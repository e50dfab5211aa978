-- A socket takes its device: the inbox position is read and the place noted in one step, so that no event falls between.
-- KEYS: where, seq, inbox. ARGV: "edge|session", last_seq, seconds, most. Returns {old place, seq, lowest kept seq, entries...}.
local old = redis.call('GETSET', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[3])
local seq = tonumber(redis.call('GET', KEYS[2]) or '0')
local last = tonumber(ARGV[2])
if last > seq then last = 0 end
local entries = redis.call('LRANGE', KEYS[3], -ARGV[4], -1)
local answer = {old or '', tostring(seq), '0'}
local lowest = nil
for _, entry in ipairs(entries) do
  local n = tonumber(string.match(entry, '^(%d+)'))
  if not lowest then lowest = n end
  if n > last then answer[#answer + 1] = entry end
end
answer[3] = tostring(lowest or 0)
return answer
