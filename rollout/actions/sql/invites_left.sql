-- What a person may still give away, by feature in which they hold a live grant and for which a window is open:
-- {feature: {left, quota, used, pending, depth_ok, closes_at (epoch ms or null), frozen}}. The window is the one opened
-- last that covers the person's own area; who is called decides in the end (rollout_invite_facts).
CREATE OR REPLACE FUNCTION rollout_invites_left(p_subscriber uuid) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_object_agg(f.key, jsonb_build_object(
        'quota', coalesce(p.allowed, w.quota), 'used', coalesce(p.used, 0), 'pending', coalesce(p.pending, 0),
        'left', greatest(0, least(
            coalesce(p.allowed, w.quota) - coalesce(p.used, 0) - coalesce(p.pending, 0),
            w.places - w.used - w.pending)),
        'depth_ok', w.depth_limit IS NULL OR g.depth < w.depth_limit,
        'closes_at', CASE WHEN w.closes_at IS NOT NULL THEN rollout_milliseconds(w.closes_at) END,
        'frozen', g.state = 'frozen')), '{}')
    FROM rollout_grant g
    JOIN rollout_feature f ON f.id = g.feature_id
    JOIN accounts_subscriber s ON s.id = g.subscriber_id
    JOIN LATERAL (
        SELECT w.* FROM rollout_window w
        WHERE w.feature_id = f.id AND w.state = 'open' AND (
            NOT EXISTS (SELECT FROM rollout_window_areas c WHERE c.window_id = w.id)
            OR EXISTS (SELECT FROM rollout_window_areas c JOIN rollout_area a ON a.id = c.area_id
                       WHERE c.window_id = w.id AND a.key = rollout_area_of(s.country, s.carrier)))
        ORDER BY w.opened_at DESC, w.id DESC LIMIT 1
    ) w ON true
    LEFT JOIN rollout_inviterplaces p ON p.window_id = w.id AND p.inviter_id = g.id
    WHERE g.subscriber_id = p_subscriber AND g.state IN ('active', 'frozen')
$$;
