-- The outcome that stands for a call: of its reservation, else of its refusal; null when there is neither.
CREATE OR REPLACE FUNCTION rollout_stored_outcome(p_feature text, p_call uuid, OUT outcome text, OUT detail jsonb)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    r rollout_reservation%ROWTYPE;
BEGIN
    SELECT r0.* INTO r FROM rollout_reservation r0 JOIN rollout_feature f ON f.id = r0.feature_id
        WHERE f.key = p_feature AND r0.call = p_call;
    IF FOUND THEN
        outcome := CASE
            WHEN r.state = 'pending' THEN 'reserved'
            WHEN r.state = 'completed' THEN 'granted'
            WHEN r.state = 'cancelled' THEN 'window_closed'
            WHEN r.why IN ('already', 'inviter_frozen') THEN r.why
            ELSE 'no_reservation' END;
        detail := CASE WHEN r.state = 'completed' THEN rollout_grant_detail(r.grant_id) ELSE jsonb_build_object(
            'window', r.window_id, 'reservation', r.id, 'state', r.state, 'why', r.why, 'depth', r.depth,
            'expires_at', rollout_milliseconds(r.expires_at)) END;
        RETURN;
    END IF;
    SELECT f0.outcome, f0.detail INTO outcome, detail
        FROM rollout_refusal f0 JOIN rollout_feature f ON f.id = f0.feature_id
        WHERE f.key = p_feature AND f0.call = p_call;
END $$;
