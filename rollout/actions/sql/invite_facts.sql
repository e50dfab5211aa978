-- Everything that decides an invite, read at once: rollout_invite_verdict judges by these.
--
-- The area is the callee's. For somebody unknown it is the area of the number's country, when the caller of this function
-- gives one, and the inviter's own otherwise: an unknown person must get the answer that a known one would.
-- `p_window` names the window when its row is locked already. A pending place of the same two people is not counted: the new call takes it over.
CREATE OR REPLACE FUNCTION rollout_invite_facts(
    p_feature text, p_caller uuid, p_callee uuid, p_country text DEFAULT NULL, p_window bigint DEFAULT NULL
) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_feature rollout_feature%ROWTYPE;
    v_caller accounts_subscriber%ROWTYPE;
    v_callee accounts_subscriber%ROWTYPE;
    v_mine rollout_grant%ROWTYPE;
    v_theirs rollout_grant%ROWTYPE;
    v_area rollout_area%ROWTYPE;
    v_allowance rollout_allowance%ROWTYPE;
    v_window rollout_window%ROWTYPE;
    v_places rollout_inviterplaces%ROWTYPE;
    v_root rollout_rootplaces%ROWTYPE;
    v_pending rollout_reservation%ROWTYPE;
    v_own integer := 0;  -- 1 when this caller already holds a place for this callee in this window
    v_recent integer;
BEGIN
    SELECT * INTO v_feature FROM rollout_feature WHERE key = p_feature;
    SELECT * INTO v_caller FROM accounts_subscriber WHERE id = p_caller;
    SELECT * INTO v_callee FROM accounts_subscriber WHERE id = p_callee;
    SELECT * INTO v_mine FROM rollout_grant
        WHERE feature_id = v_feature.id AND subscriber_id = p_caller AND state IN ('active', 'frozen');
    SELECT * INTO v_theirs FROM rollout_grant
        WHERE feature_id = v_feature.id AND subscriber_id = p_callee AND state IN ('active', 'frozen');
    SELECT * INTO v_area FROM rollout_area WHERE key = CASE
        WHEN v_callee.id IS NOT NULL THEN rollout_area_of(v_callee.country, v_callee.carrier)
        WHEN p_country IS NOT NULL THEN rollout_area_of(p_country, '')
        ELSE rollout_area_of(v_caller.country, v_caller.carrier) END;
    SELECT * INTO v_allowance FROM rollout_allowance WHERE area_id = v_area.id;
    IF p_window IS NULL THEN
        SELECT * INTO v_window FROM rollout_window_of(v_feature.id, v_area.id, v_now);
    ELSE
        SELECT * INTO v_window FROM rollout_window WHERE id = p_window;
    END IF;
    SELECT * INTO v_pending FROM rollout_reservation
        WHERE feature_id = v_feature.id AND callee_id = p_callee AND state = 'pending';
    IF v_pending.inviter_id = v_mine.id AND v_pending.window_id = v_window.id THEN
        v_own := 1;
    END IF;
    SELECT * INTO v_places FROM rollout_inviterplaces WHERE window_id = v_window.id AND inviter_id = v_mine.id;
    SELECT * INTO v_root FROM rollout_rootplaces
        WHERE window_id = v_window.id AND root_id = coalesce(v_mine.root, v_mine.id);
    SELECT (SELECT count(*) FROM rollout_reservation
                WHERE inviter_id = v_mine.id AND created_at > v_now - interval '1 minute')
         + (SELECT count(*) FROM rollout_refusal
                WHERE inviter = p_caller AND at > v_now - interval '1 minute' AND outcome <> 'rate_limited')
        INTO v_recent;
    RETURN jsonb_build_object(
        'at', rollout_milliseconds(v_now),
        'feature', CASE WHEN v_feature.id IS NOT NULL THEN
            jsonb_build_object('switch', v_feature.switch) END,
        'caller', jsonb_build_object('recent', v_recent, 'grant', CASE WHEN v_mine.id IS NOT NULL THEN
            jsonb_build_object('id', v_mine.id, 'state', v_mine.state, 'depth', v_mine.depth,
                'root', coalesce(v_mine.root, v_mine.id), 'at', rollout_milliseconds(v_mine.granted_at)) END),
        'callee', CASE WHEN v_callee.id IS NOT NULL THEN jsonb_build_object(
            'id', v_callee.id, 'accepts_invites', v_callee.accepts_invites,
            'blocked', EXISTS (SELECT FROM accounts_block WHERE blocker_id = p_callee AND blocked_id = p_caller),
            'reserved', v_pending.id IS NOT NULL AND v_pending.inviter_id IS DISTINCT FROM v_mine.id
                AND v_pending.expires_at > v_now,
            'grant', CASE WHEN v_theirs.id IS NOT NULL THEN jsonb_build_object('id', v_theirs.id, 'state', v_theirs.state)
                END) END,
        'window', CASE WHEN v_window.id IS NOT NULL THEN jsonb_build_object(
            'id', v_window.id, 'open', rollout_window_is_open(v_window.state, v_window.closes_at, v_now),
            'activate_on', v_window.activate_on, 'depth_limit', v_window.depth_limit, 'quota', v_window.quota,
            'budget', v_window.places, 'used', v_window.used, 'pending', greatest(0, v_window.pending - v_own),
            'root_budget', v_window.root_budget, 'min_grant_age_s', v_window.min_grant_age_seconds,
            'closes_at', rollout_milliseconds(v_window.closes_at)) END,
        'inviter', jsonb_build_object('used', coalesce(v_places.used, 0),
            'pending', greatest(0, coalesce(v_places.pending, 0) - v_own),
            'allowed', coalesce(v_places.allowed, v_window.quota)),
        'root', jsonb_build_object('used', coalesce(v_root.used, 0),
            'pending', greatest(0, coalesce(v_root.pending, 0) - v_own),
            'allowed', coalesce(v_root.allowed, v_window.root_budget)),
        'area', CASE WHEN v_area.id IS NOT NULL THEN jsonb_build_object(
            'id', v_area.id, 'key', v_area.key, 'state', v_area.state,
            'remaining', coalesce(v_allowance.remaining, 0),
            'valid_until', coalesce(rollout_milliseconds(v_allowance.valid_until), 0),
            'retry_at', rollout_milliseconds(CASE WHEN v_area.next_tick_at > v_now THEN v_area.next_tick_at
                ELSE v_now + make_interval(secs => v_area.tick_seconds) END)) END,
        'reserved', v_pending.id IS NOT NULL AND v_pending.inviter_id = v_mine.id);
END $$;
