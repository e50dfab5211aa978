-- One outbox row `grant.created` for each of the grants: every grant that a person makes, by an invite or by hand, is
-- announced here, in its own transaction, so that invite grants = places used = outbox rows holds after any crash.
CREATE OR REPLACE FUNCTION rollout_announce(p_grants bigint[]) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO outbox_outbox (key, kind, payload, created_at, due_at)
    SELECT 'grant:' || g.id, 'grant.created',
           jsonb_strip_nulls(jsonb_build_object(
               'subscriber', g.subscriber_id, 'feature', f.key, 'grant', g.id, 'source', g.source, 'depth', g.depth,
               'root', coalesce(g.root, g.id), 'at', floor(extract(epoch FROM g.granted_at))::bigint,
               'inviter', p.subscriber_id, 'call', g.call, 'window', g.window_id, 'frozen', false)),
           clock_timestamp(), clock_timestamp()
    FROM rollout_grant g JOIN rollout_feature f ON f.id = g.feature_id LEFT JOIN rollout_grant p ON p.id = g.parent_id
    WHERE g.id = ANY (p_grants)
    ORDER BY g.id
    ON CONFLICT (key) DO NOTHING
$$;
