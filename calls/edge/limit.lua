-- A token bucket. KEYS[1] the bucket. ARGV: capacity, tokens per second, now (ms). Returns 0, or ms until the next token.
local kept = redis.call('HMGET', KEYS[1], 'n', 't')
local capacity, rate, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local n = tonumber(kept[1] or capacity)
n = math.min(capacity, n + math.max(0, now - tonumber(kept[2] or now)) * rate / 1000)
local wait = 0
if n >= 1 then n = n - 1 else wait = math.ceil((1 - n) / rate * 1000) end
redis.call('HSET', KEYS[1], 'n', tostring(n), 't', now)
redis.call('PEXPIRE', KEYS[1], math.ceil(capacity / rate * 1000) + 1000)
return wait
