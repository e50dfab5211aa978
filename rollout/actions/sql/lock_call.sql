-- Lock what a call's reservation touches, always in this order: the inviter's grant and places, the callee, the
-- reservation, the root's budget, the window. Answers the reservation's id, or null when the call has none.
CREATE OR REPLACE FUNCTION rollout_lock_call(p_feature text, p_call uuid) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    r rollout_reservation%ROWTYPE;
BEGIN
    SELECT r0.* INTO r FROM rollout_reservation r0 JOIN rollout_feature f ON f.id = r0.feature_id
        WHERE f.key = p_feature AND r0.call = p_call;
    IF NOT FOUND OR r.state <> 'pending' THEN
        RETURN r.id;
    END IF;
    PERFORM 1 FROM rollout_grant WHERE id = r.inviter_id FOR SHARE;
    PERFORM 1 FROM rollout_inviterplaces WHERE window_id = r.window_id AND inviter_id = r.inviter_id FOR NO KEY UPDATE;
    PERFORM 1 FROM accounts_subscriber WHERE id = r.callee_id FOR NO KEY UPDATE;
    PERFORM 1 FROM rollout_reservation WHERE id = r.id FOR NO KEY UPDATE;
    PERFORM 1 FROM rollout_rootplaces WHERE window_id = r.window_id AND root_id = r.root_id FOR NO KEY UPDATE;
    PERFORM 1 FROM rollout_window WHERE id = r.window_id FOR NO KEY UPDATE;
    RETURN r.id;
END $$;
