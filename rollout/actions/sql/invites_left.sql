-- What a person may still give away, by feature in which they hold a live grant and for which a window is open:
-- {feature: {left, quota, used, pending, depth_ok, closes_at (epoch ms or null), frozen}}. The window is the one
-- for the person's own area; who is called decides in the end (rollout_invite_facts).
CREATE OR REPLACE FUNCTION rollout_invites_left(p_subscriber uuid) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_object_agg(f.key, jsonb_build_object(
        'quota', coalesce(p.allowed, w.quota), 'used', coalesce(p.used, 0), 'pending', coalesce(p.pending, 0),
        'left', greatest(0, least(
            coalesce(p.allowed, w.quota) - coalesce(p.used, 0) - coalesce(p.pending, 0),
            w.places - w.used - w.pending)),
        'depth_ok', w.depth_limit IS NULL OR g.depth < w.depth_limit,
        'closes_at', rollout_milliseconds(w.closes_at),
        'frozen', g.state = 'frozen')), '{}')
    FROM rollout_grant g
    JOIN rollout_feature f ON f.id = g.feature_id
    JOIN accounts_subscriber s ON s.id = g.subscriber_id
    LEFT JOIN rollout_area a ON a.key = rollout_area_of(s.country, s.carrier)
    JOIN LATERAL rollout_window_of(f.id, a.id, clock_timestamp()) w
        ON rollout_window_is_open(w.state, w.closes_at, clock_timestamp())
    LEFT JOIN rollout_inviterplaces p ON p.window_id = w.id AND p.inviter_id = g.id
    WHERE g.subscriber_id = p_subscriber AND g.state IN ('active', 'frozen')
$$;
