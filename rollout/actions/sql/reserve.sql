-- Take a place for an invite by call. Ends with a pending reservation (`reserved`), with a grant when the window activates
-- on the offer (`granted`), or with a recorded refusal. A replay by (feature, call) answers what stands already.
--
-- Demand that the facts refuse takes no lock. Otherwise: lock feature (against a kill), inviter, callee, root, window,
-- allowance, in this order, read the facts again, and judge by them. The constraints stand behind every count.
CREATE OR REPLACE FUNCTION rollout_reserve(
    p_feature text, p_call uuid, p_inviter uuid, p_callee uuid, p_ttl interval, OUT outcome text, OUT detail jsonb
) LANGUAGE plpgsql AS $$
DECLARE
    v_facts jsonb;
    v_feature bigint;
    v_window bigint;
    v_inviter bigint;
    v_root bigint;
    v_area bigint;
    v_old rollout_reservation%ROWTYPE;
    v_reservation bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('rollout.call:' || p_call, 0));
    SELECT s.outcome, s.detail INTO outcome, detail FROM rollout_stored_outcome(p_feature, p_call) s;
    IF outcome IS NOT NULL THEN
        RETURN;
    END IF;
    v_facts := rollout_invite_facts(p_feature, p_inviter, p_callee);
    SELECT v.outcome, v.detail INTO outcome, detail FROM rollout_invite_verdict(v_facts) v;
    IF outcome = 'ok' THEN
        SELECT id INTO v_feature FROM rollout_feature WHERE key = p_feature FOR KEY SHARE;
        v_window := (v_facts->'window'->>'id')::bigint;
        v_inviter := (v_facts->'caller'->'grant'->>'id')::bigint;
        v_root := (v_facts->'caller'->'grant'->>'root')::bigint;
        v_area := (v_facts->'area'->>'id')::bigint;
        PERFORM 1 FROM rollout_grant WHERE id = v_inviter FOR SHARE;
        INSERT INTO rollout_inviterplaces (window_id, inviter_id, allowed)
            VALUES (v_window, v_inviter, (v_facts->'window'->>'quota')::int) ON CONFLICT DO NOTHING;
        PERFORM 1 FROM rollout_inviterplaces WHERE window_id = v_window AND inviter_id = v_inviter FOR NO KEY UPDATE;
        PERFORM 1 FROM accounts_subscriber WHERE id = p_callee FOR NO KEY UPDATE;
        SELECT * INTO v_old FROM rollout_reservation
            WHERE feature_id = v_feature AND callee_id = p_callee AND state = 'pending' FOR NO KEY UPDATE;
        INSERT INTO rollout_rootplaces (window_id, root_id, allowed)
            VALUES (v_window, v_root, (v_facts->'window'->>'root_budget')::int) ON CONFLICT DO NOTHING;
        PERFORM 1 FROM rollout_rootplaces WHERE window_id = v_window AND root_id = v_root FOR NO KEY UPDATE;
        PERFORM 1 FROM rollout_window WHERE id = v_window FOR NO KEY UPDATE;
        PERFORM 1 FROM rollout_allowance WHERE area_id = v_area FOR NO KEY UPDATE;
        v_facts := rollout_invite_facts(p_feature, p_inviter, p_callee, NULL, v_window);
        SELECT v.outcome, v.detail INTO outcome, detail FROM rollout_invite_verdict(v_facts) v;
        IF outcome = 'ok' AND (v_facts->'area'->>'id')::bigint IS DISTINCT FROM v_area THEN
            outcome := 'throttled';  -- the callee or the areas moved meanwhile: the locked allowance is not theirs
            detail := detail || jsonb_build_object('cause', 'area_changed', 'retry_at', v_facts->'at');
        END IF;
    END IF;
    IF outcome <> 'ok' THEN
        IF outcome <> 'already' THEN
            PERFORM rollout_refuse(p_feature, p_call, p_inviter, p_callee, NULL, outcome, detail);
        END IF;
        RETURN;
    END IF;

    IF v_old.inviter_id = v_inviter AND v_old.window_id = v_window THEN
        PERFORM rollout_give_back(v_old.id, 'released', 'superseded');
    ELSIF v_old.id IS NOT NULL THEN
        -- Overdue, or of another window: its inviter isn't locked here, so the sweeper gives the places back.
        UPDATE rollout_reservation SET ended_at = clock_timestamp(),
            state = CASE WHEN v_old.expires_at <= clock_timestamp() THEN 'expired' ELSE 'released' END, why = 'superseded'
            WHERE id = v_old.id;
    END IF;
    INSERT INTO rollout_reservation (feature_id, call, window_id, inviter_id, root_id, callee_id, depth, area_id, state,
                                     created_at, expires_at)
    VALUES (v_feature, p_call, v_window, v_inviter, v_root, p_callee, (v_facts->'caller'->'grant'->>'depth')::int + 1,
            v_area, 'pending', clock_timestamp(), clock_timestamp() + p_ttl)
    RETURNING id INTO v_reservation;
    UPDATE rollout_inviterplaces SET pending = pending + 1 WHERE window_id = v_window AND inviter_id = v_inviter;
    UPDATE rollout_rootplaces SET pending = pending + 1 WHERE window_id = v_window AND root_id = v_root;
    UPDATE rollout_window SET pending = pending + 1 WHERE id = v_window;
    UPDATE rollout_allowance SET remaining = remaining - 1, spent_total = spent_total + 1 WHERE area_id = v_area;
    IF v_facts->'window'->>'activate_on' = 'offered' THEN
        outcome := 'granted';
        detail := rollout_settle(v_reservation);
    ELSE
        SELECT s.outcome, s.detail INTO outcome, detail FROM rollout_stored_outcome(p_feature, p_call) s;
    END IF;
END $$;
