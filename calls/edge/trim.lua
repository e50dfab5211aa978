-- Events up to ARGV[1] were handled: they leave the inbox. KEYS[1] the inbox, ARGV[2] the epoch in which they were numbered:
-- after Redis came back empty, the same numbers are other events'.
if redis.call('GET', 'rc:epoch') ~= ARGV[2] then return 0 end
local most = 0
while most < 512 do
  local head = redis.call('LINDEX', KEYS[1], 0)
  if not head or tonumber(string.match(head, '^(%d+)')) > tonumber(ARGV[1]) then break end
  redis.call('LPOP', KEYS[1])
  most = most + 1
end
return most
