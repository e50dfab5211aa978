-- End what is overdue or was left behind, and give places back: pending reservations past their expiry or in a closed
-- window, and ended ones whose inviter still waits for the place. Each kind of row is locked sorted, and summed first.
CREATE OR REPLACE FUNCTION rollout_sweep(p_most integer DEFAULT 500, OUT ended integer, OUT returned integer)
LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_ids bigint[];
BEGIN
    SELECT array_agg(id) INTO v_ids FROM (
        SELECT r.id FROM rollout_reservation r JOIN rollout_window w ON w.id = r.window_id
        WHERE NOT r.places_returned AND (r.state <> 'pending' OR r.expires_at <= v_now OR w.state = 'closed')
        ORDER BY r.id LIMIT p_most) due;
    ended := 0;
    returned := 0;
    IF v_ids IS NULL THEN
        RETURN;
    END IF;
    PERFORM 1 FROM rollout_inviterplaces p WHERE EXISTS (
        SELECT FROM rollout_reservation r WHERE r.id = ANY (v_ids) AND r.window_id = p.window_id AND r.inviter_id = p.inviter_id)
        ORDER BY p.id FOR NO KEY UPDATE;
    PERFORM 1 FROM rollout_reservation WHERE id = ANY (v_ids) ORDER BY id FOR NO KEY UPDATE;
    PERFORM 1 FROM rollout_rootplaces p WHERE EXISTS (
        SELECT FROM rollout_reservation r WHERE r.id = ANY (v_ids) AND r.window_id = p.window_id AND r.root_id = p.root_id)
        ORDER BY p.id FOR NO KEY UPDATE;
    PERFORM 1 FROM rollout_window w WHERE EXISTS (
        SELECT FROM rollout_reservation r WHERE r.id = ANY (v_ids) AND r.window_id = w.id) ORDER BY w.id FOR NO KEY UPDATE;

    UPDATE rollout_reservation r SET ended_at = clock_timestamp(),
        state = CASE WHEN w.state = 'closed' THEN 'cancelled' ELSE 'expired' END,
        why = CASE WHEN w.state = 'closed' THEN 'window_closed' ELSE r.why END
        FROM rollout_window w WHERE w.id = r.window_id AND r.id = ANY (v_ids) AND r.state = 'pending';
    GET DIAGNOSTICS ended = ROW_COUNT;
    -- What another transaction settled or gave back meanwhile is left alone.
    SELECT array_agg(id) INTO v_ids FROM rollout_reservation
        WHERE id = ANY (v_ids) AND state <> 'pending' AND NOT places_returned;
    UPDATE rollout_inviterplaces p SET pending = p.pending - s.n
        FROM (SELECT window_id, inviter_id, count(*) AS n FROM rollout_reservation WHERE id = ANY (v_ids) GROUP BY 1, 2) s
        WHERE p.window_id = s.window_id AND p.inviter_id = s.inviter_id;
    UPDATE rollout_rootplaces p SET pending = p.pending - s.n
        FROM (SELECT window_id, root_id, count(*) AS n FROM rollout_reservation WHERE id = ANY (v_ids) GROUP BY 1, 2) s
        WHERE p.window_id = s.window_id AND p.root_id = s.root_id;
    UPDATE rollout_window w SET pending = w.pending - s.n
        FROM (SELECT window_id, count(*) AS n FROM rollout_reservation WHERE id = ANY (v_ids) GROUP BY 1) s
        WHERE w.id = s.window_id AND w.state <> 'closed';
    UPDATE rollout_reservation SET places_returned = true WHERE id = ANY (v_ids);
    GET DIAGNOSTICS returned = ROW_COUNT;
END $$;
