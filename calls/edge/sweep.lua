-- Claim up to ARGV[3] overdue calls: each moves ARGV[2] ms ahead, so that no other edge takes it meanwhile.
-- KEYS[1] deadlines. ARGV: now, lease, most. Returns the claimed calls.
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])
for _, call in ipairs(due) do redis.call('ZADD', KEYS[1], ARGV[1] + ARGV[2], call) end
return due
