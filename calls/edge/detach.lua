-- A socket leaves: the place is forgotten only if it is still this socket's. KEYS[1] where. ARGV[1] "edge|session".
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
