-- Places of open sockets: one that was lost, or that only a long poll has, is taken again; an own one lasts on.
-- KEYS: where, one for each device. ARGV: edge, seconds, then the session of each. Returns who has each, '' if it was lost.
local held = {}
for n, key in ipairs(KEYS) do
  local holder = redis.call('GET', key)
  if not holder or string.match(holder, '|poll$') then
    redis.call('SET', key, ARGV[1] .. '|' .. ARGV[n + 2], 'EX', ARGV[2])
    holder = ''
  elseif string.match(holder, '^[^|]+') == ARGV[1] then
    redis.call('EXPIRE', key, ARGV[2])
  end
  held[n] = holder
end
return held
