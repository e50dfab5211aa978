-- Appends events to inboxes, each once by its key, and rings the edge that holds the device's socket.
-- events: [{device, key, body, ttl}]; ttl (s) is how long the key is remembered.
local INBOX_SECONDS, KEEP = 7776000, 256
local function tell(events, now)
  for _, event in ipairs(events) do
    local fresh = true
    if event.key ~= '' then
      fresh = redis.call('SET', 'rc:seen:' .. event.device .. ':' .. event.key, '1', 'NX', 'EX', event.ttl)
    end
    if fresh then
      local inbox, counter = 'rc:inbox:' .. event.device, 'rc:seq:' .. event.device
      local seq = redis.call('INCR', counter)
      local entry = seq .. '\n' .. now .. '\n' .. event.body
      redis.call('RPUSH', inbox, entry)
      redis.call('LTRIM', inbox, -KEEP, -1)
      redis.call('EXPIRE', inbox, INBOX_SECONDS)
      redis.call('EXPIRE', counter, INBOX_SECONDS)
      local where = redis.call('GET', 'rc:where:' .. event.device)
      if where then
        redis.call('PUBLISH', 'rc:bell:' .. string.match(where, '^[^|]+'), 'ev\n' .. event.device .. '\n' .. entry)
      end
    end
  end
end
