-- End a pending reservation and give its places back. The locks of inviter, root and window are held by whoever calls this.
-- A closed window counts no pending places any more: closing emptied it. Allowance is never given back.
CREATE OR REPLACE FUNCTION rollout_give_back(p_reservation bigint, p_state text, p_why text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    r rollout_reservation%ROWTYPE;
BEGIN
    UPDATE rollout_reservation SET state = p_state, why = left(p_why, 64), places_returned = true,
        ended_at = clock_timestamp() WHERE id = p_reservation AND state = 'pending' RETURNING * INTO r;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    UPDATE rollout_inviterplaces SET pending = pending - 1 WHERE window_id = r.window_id AND inviter_id = r.inviter_id;
    UPDATE rollout_rootplaces SET pending = pending - 1 WHERE window_id = r.window_id AND root_id = r.root_id;
    UPDATE rollout_window SET pending = pending - 1 WHERE id = r.window_id AND state <> 'closed';
END $$;
