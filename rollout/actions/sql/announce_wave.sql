-- One outbox row `grants.created` for all grants that a batch of a wave made in one area.
CREATE OR REPLACE FUNCTION rollout_announce_wave(p_wave bigint, p_grants bigint[]) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO outbox_outbox (key, kind, payload, created_at, due_at)
    SELECT 'wave:' || p_wave || ':' || min(g.id), 'grants.created',
           jsonb_build_object(
               'feature', (SELECT f.key FROM rollout_wave w JOIN rollout_feature f ON f.id = w.feature_id
                           WHERE w.id = p_wave),
               'source', 'wave', 'depth', 0, 'at', floor(extract(epoch FROM min(g.granted_at)))::bigint,
               'frozen', false, 'people', jsonb_agg(g.subscriber_id ORDER BY g.id), 'grants', jsonb_agg(g.id ORDER BY g.id)),
           clock_timestamp(), clock_timestamp()
    FROM rollout_grant g WHERE g.id = ANY (p_grants)
    HAVING count(*) > 0
    ON CONFLICT (key) DO NOTHING
$$;
