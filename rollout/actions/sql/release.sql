-- Give the place of a call back that ended without a grant. True when this call did it; false when there was nothing to
-- release any more (granted, cancelled, expired, released before). Of an accept and a release exactly one wins.
CREATE OR REPLACE FUNCTION rollout_release(p_feature text, p_call uuid, p_why text, OUT released boolean)
LANGUAGE plpgsql AS $$
DECLARE
    v_id bigint := rollout_lock_call(p_feature, p_call);
BEGIN
    released := EXISTS (SELECT FROM rollout_reservation WHERE id = v_id AND state = 'pending');
    IF released THEN
        PERFORM rollout_give_back(v_id, 'released', p_why);
    END IF;
END $$;
