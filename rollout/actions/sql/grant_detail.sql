-- What an answer tells about a grant.
CREATE OR REPLACE FUNCTION rollout_grant_detail(p_grant bigint) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'grant', g.id, 'source', g.source, 'depth', g.depth, 'root', coalesce(g.root, g.id), 'window', g.window_id,
        'at', floor(extract(epoch FROM g.granted_at))::bigint, 'subscriber', g.subscriber_id)
    FROM rollout_grant g WHERE g.id = p_grant
$$;
