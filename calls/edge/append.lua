-- Events that belong to no call. ARGV[1] JSON {tell, now}.
local a = cjson.decode(ARGV[1])
tell(a.tell, ARGV[2])
return #a.tell
