-- One versioned step of a call: compare the version, set the record, move deadline and live sets, append inbox events.
-- KEYS[1] the call. ARGV[1] JSON {id, expect, record?, ttl, deadline, area, live, pair?, reply?, tell}, ARGV[2] now (ms).
-- Returns {"ok", version} | {"race", version} | {"pair", older call} | {"again", stored answer}.
local a = cjson.decode(ARGV[1])
if a.reply then
  local said = redis.call('GET', a.reply.key)
  if said then return {'again', said} end
end
local version = tonumber(redis.call('HGET', KEYS[1], 'v') or '0')
if version ~= a.expect then return {'race', tostring(version)} end
if a.pair and version == 0 then
  local older = redis.call('GET', a.pair)
  if older and older ~= a.id then return {'pair', older} end
end
if a.record then
  version = version + 1
  redis.call('HSET', KEYS[1], 'v', version, 's', a.record)
  redis.call('PEXPIRE', KEYS[1], a.ttl)
  local live = 'rc:live:' .. a.area
  if a.live then
    redis.call('ZADD', 'rc:deadlines', a.deadline, a.id)
    redis.call('ZADD', live, a.deadline, a.id)
    redis.call('SADD', 'rc:areas', a.area)
    if a.pair then redis.call('SET', a.pair, a.id, 'PX', a.ttl) end
  else
    redis.call('ZREM', 'rc:deadlines', a.id)
    redis.call('ZREM', live, a.id)
    if a.pair and redis.call('GET', a.pair) == a.id then redis.call('DEL', a.pair) end
  end
end
tell(a.tell, ARGV[2])
if a.reply then redis.call('SET', a.reply.key, a.reply.said, 'EX', a.reply.ttl) end
return {'ok', tostring(version)}
