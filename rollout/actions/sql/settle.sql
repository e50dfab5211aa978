-- Turn a pending reservation into its grant. The locks of inviter, callee, root and window are held by whoever calls this.
CREATE OR REPLACE FUNCTION rollout_settle(p_reservation bigint) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    r rollout_reservation%ROWTYPE;
    v_grant bigint;
BEGIN
    SELECT * INTO STRICT r FROM rollout_reservation WHERE id = p_reservation AND state = 'pending' FOR NO KEY UPDATE;
    INSERT INTO rollout_grant (feature_id, subscriber_id, source, window_id, parent_id, root, depth, call, area_id,
                               state, granted_at, granted_by)
    VALUES (r.feature_id, r.callee_id, 'invite', r.window_id, r.inviter_id, r.root_id, r.depth, r.call, r.area_id,
            'active', clock_timestamp(), '')
    RETURNING id INTO v_grant;
    UPDATE rollout_inviterplaces SET pending = pending - 1, used = used + 1
        WHERE window_id = r.window_id AND inviter_id = r.inviter_id;
    UPDATE rollout_rootplaces SET pending = pending - 1, used = used + 1
        WHERE window_id = r.window_id AND root_id = r.root_id;
    UPDATE rollout_window SET pending = pending - 1, used = used + 1 WHERE id = r.window_id;
    UPDATE rollout_reservation SET state = 'completed', grant_id = v_grant, places_returned = true,
        ended_at = clock_timestamp() WHERE id = r.id;
    PERFORM rollout_announce(ARRAY[v_grant]);
    RETURN rollout_grant_detail(v_grant);
END $$;
