-- Turn the call's pending reservation into a grant, inside the accept. Otherwise the outcome that stands: `window_closed`,
-- `inviter_frozen`, `already`, `no_reservation`. Nobody is granted once a close has been acknowledged: the window's row
-- is locked and looked at last. Nor once a kill has been: it locks the feature's row against the share that is held here.
-- Allowance was spent when the place was reserved, so a hold doesn't end a ringing call.
CREATE OR REPLACE FUNCTION rollout_complete(p_feature text, p_call uuid, OUT outcome text, OUT detail jsonb)
LANGUAGE plpgsql AS $$
DECLARE
    v_id bigint;
    r rollout_reservation%ROWTYPE;
    w rollout_window%ROWTYPE;
    v_now timestamptz;
BEGIN
    PERFORM 1 FROM rollout_feature WHERE key = p_feature FOR KEY SHARE;
    v_id := rollout_lock_call(p_feature, p_call);
    v_now := clock_timestamp();
    SELECT * INTO r FROM rollout_reservation WHERE id = v_id;
    SELECT * INTO w FROM rollout_window WHERE id = r.window_id;
    IF r.state = 'pending' THEN
        CASE
        WHEN r.expires_at <= v_now THEN
            PERFORM rollout_give_back(r.id, 'expired', '');
        WHEN NOT rollout_window_is_open(w.state, w.closes_at, v_now)
            OR EXISTS (SELECT FROM rollout_feature WHERE id = r.feature_id AND switch = 'killed') THEN
            PERFORM rollout_give_back(r.id, 'cancelled', 'window_closed');
        WHEN r.callee_id IS NULL THEN
            PERFORM rollout_give_back(r.id, 'released', 'callee_left');
        WHEN EXISTS (SELECT FROM rollout_grant WHERE feature_id = r.feature_id AND subscriber_id = r.callee_id
                     AND state IN ('active', 'frozen')) THEN
            PERFORM rollout_give_back(r.id, 'released', 'already');
        WHEN NOT EXISTS (SELECT FROM rollout_grant WHERE id = r.inviter_id AND state = 'active') THEN
            PERFORM rollout_give_back(r.id, 'released', 'inviter_frozen');
        ELSE
            outcome := 'granted';
            detail := rollout_settle(r.id);
            RETURN;
        END CASE;
    END IF;
    IF r.id IS NOT NULL THEN
        SELECT s.outcome, s.detail INTO outcome, detail FROM rollout_stored_outcome(p_feature, p_call) s;
    END IF;
    outcome := coalesce(outcome, 'no_reservation');
    detail := coalesce(detail, '{}');
END $$;
