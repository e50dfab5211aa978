-- The window that an invite to somebody in this area goes through: of those that cover the area the open one that was
-- opened last, else the one that was open last. No row where none ever was.
CREATE OR REPLACE FUNCTION rollout_window_of(p_feature bigint, p_area bigint, p_at timestamptz)
RETURNS SETOF rollout_window LANGUAGE sql STABLE AS $$
    SELECT w.* FROM rollout_window w
    WHERE w.feature_id = p_feature AND w.state <> 'scheduled' AND (
        NOT EXISTS (SELECT FROM rollout_window_areas c WHERE c.window_id = w.id)
        OR EXISTS (SELECT FROM rollout_window_areas c WHERE c.window_id = w.id AND c.area_id = p_area))
    ORDER BY rollout_window_is_open(w.state, w.closes_at, p_at) DESC, coalesce(w.closed_at, w.opened_at) DESC, w.id DESC
    LIMIT 1
$$;
