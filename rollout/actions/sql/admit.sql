-- Admit one batch of a wave: those of `p_subscribers` (they match the wave) who have no live grant get one, as far as the
-- allowance of their areas reaches; the rest is passed over. Whoever an operator took the feature from isn't admitted
-- again: that was a decision about the person, and only a person undoes it. Nobody is admitted once the feature isn't on: its row is
-- locked against a kill, and read. Then the wave's row is locked, so one batch runs at a time;
-- `p_from` must be the cursor that the batch was read from, so that a batch sent twice counts once.
-- `p_end` says that nobody comes after this batch: the wave is done when its whole pass passed nobody over, and starts
-- another pass otherwise.
CREATE OR REPLACE FUNCTION rollout_admit(
    p_wave bigint, p_subscribers uuid[], p_from uuid, p_to uuid, p_end boolean
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    w rollout_wave%ROWTYPE;
    v_switch text;
    v_group record;
    v_take integer;
    v_made bigint[];
    v_admitted integer := 0;
    v_waiting jsonb := '{}';
    v_passed integer := 0;
BEGIN
    SELECT f.switch INTO v_switch FROM rollout_feature f
        WHERE f.id = (SELECT feature_id FROM rollout_wave WHERE id = p_wave) FOR KEY SHARE;
    SELECT * INTO w FROM rollout_wave WHERE id = p_wave FOR NO KEY UPDATE;
    IF w.state IS DISTINCT FROM 'open' OR v_switch <> 'on' THEN
        RETURN jsonb_build_object('outcome', 'not_open', 'admitted', 0, 'waiting', v_waiting);
    ELSIF w.cursor IS DISTINCT FROM p_from THEN
        RETURN jsonb_build_object('outcome', 'moved', 'admitted', 0, 'waiting', v_waiting);
    END IF;
    PERFORM 1 FROM accounts_subscriber WHERE id = ANY (p_subscribers) ORDER BY id FOR NO KEY UPDATE;
    FOR v_group IN
        SELECT a.id AS area, coalesce(a.key, '') AS key, array_agg(s.id ORDER BY s.id) AS people, count(*)::int AS n
        FROM accounts_subscriber s LEFT JOIN rollout_area a ON a.key = rollout_area_of(s.country, s.carrier)
        WHERE s.id = ANY (p_subscribers) AND NOT EXISTS (SELECT FROM rollout_grant g
            WHERE g.feature_id = w.feature_id AND g.subscriber_id = s.id AND g.state IN ('active', 'frozen', 'revoked'))
        GROUP BY a.id, a.key ORDER BY a.id
    LOOP
        SELECT least(l.remaining, v_group.n) INTO v_take FROM rollout_allowance l JOIN rollout_area a ON a.id = l.area_id
            WHERE l.area_id = v_group.area AND a.state = 'ramp' AND l.valid_until > clock_timestamp()
            FOR NO KEY UPDATE OF l;
        v_take := coalesce(v_take, 0);
        IF v_take > 0 THEN
            WITH made AS (
                INSERT INTO rollout_grant (feature_id, subscriber_id, source, wave_id, depth, area_id, state, granted_at)
                SELECT w.feature_id, person, 'wave', w.id, 0, v_group.area, 'active', clock_timestamp()
                FROM unnest(v_group.people[1:v_take]) AS person
                ON CONFLICT DO NOTHING RETURNING id)
            SELECT array_agg(id) INTO v_made FROM made;
            v_take := coalesce(cardinality(v_made), 0);
            UPDATE rollout_allowance SET remaining = remaining - v_take, spent_total = spent_total + v_take
                WHERE area_id = v_group.area;
            PERFORM rollout_announce_wave(w.id, v_made);
        END IF;
        v_admitted := v_admitted + v_take;
        v_passed := v_passed + v_group.n - v_take;
        IF v_group.n > v_take THEN
            v_waiting := v_waiting || jsonb_build_object(v_group.key, v_group.n - v_take);
        END IF;
    END LOOP;
    v_passed := v_passed + CASE WHEN p_from IS NULL THEN 0 ELSE w.passed_over END;
    UPDATE rollout_wave SET admitted = admitted + v_admitted, passed_over = v_passed,
        cursor = CASE WHEN p_end THEN NULL ELSE p_to END,
        state = CASE WHEN p_end AND v_passed = 0 THEN 'done' ELSE state END,
        done_at = CASE WHEN p_end AND v_passed = 0 THEN clock_timestamp() END
        WHERE id = w.id;
    RETURN jsonb_build_object('outcome', CASE WHEN p_end AND v_passed = 0 THEN 'done' ELSE 'ok' END,
        'admitted', v_admitted, 'waiting', v_waiting);
END $$;
