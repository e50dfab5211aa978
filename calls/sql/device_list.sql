-- The signed device list that stands, its bytes in base64. Null before the first.
CREATE OR REPLACE FUNCTION calls_device_list(p_subscriber uuid) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('body', encode(l.body, 'base64'), 'signature', encode(l.signature, 'base64'))
    FROM accounts_devicelist l WHERE l.subscriber_id = p_subscriber ORDER BY l.epoch DESC LIMIT 1
$$;
