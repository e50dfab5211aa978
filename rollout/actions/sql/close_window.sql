-- Close a window: in one transaction its pending places are emptied, its reservations cancelled and its report ordered.
-- A reservation that is locked right now belongs to an accept or a release that waits for the window's row: it will find
-- the window closed and end itself (waiting for it here would be a deadlock), or the sweeper ends it. Inviters' and roots'
-- places are given back by the sweeper. Closing again changes nothing.
CREATE OR REPLACE FUNCTION rollout_close_window(
    p_window bigint, OUT closed boolean, OUT cancelled integer, OUT closed_at timestamptz
) LANGUAGE plpgsql AS $$
BEGIN
    UPDATE rollout_window w SET state = 'closed', closed_at = clock_timestamp(), pending = 0
        WHERE w.id = p_window AND w.state <> 'closed' RETURNING w.closed_at INTO closed_at;
    closed := FOUND;
    cancelled := 0;
    IF NOT closed THEN
        RETURN;
    END IF;
    WITH waiting AS (
        SELECT r.id FROM rollout_reservation r WHERE r.window_id = p_window AND r.state = 'pending'
        ORDER BY r.id FOR NO KEY UPDATE SKIP LOCKED)
    UPDATE rollout_reservation r SET state = 'cancelled', why = 'window_closed', ended_at = clock_timestamp()
        FROM waiting WHERE r.id = waiting.id;
    GET DIAGNOSTICS cancelled = ROW_COUNT;
    INSERT INTO outbox_outbox (key, kind, payload, created_at, due_at)
    VALUES ('window:' || p_window || ':closed', 'window.closed', jsonb_build_object('window', p_window),
            clock_timestamp(), clock_timestamp())
    ON CONFLICT (key) DO NOTHING;
END $$;
