-- Whether invites go through a window at this moment. Agrees with `is_open` of rollout/rules/spread/window.py.
CREATE OR REPLACE FUNCTION rollout_window_is_open(p_state text, p_closes_at timestamptz, p_at timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT p_state = 'open' AND (p_closes_at IS NULL OR p_closes_at > p_at)
$$;
