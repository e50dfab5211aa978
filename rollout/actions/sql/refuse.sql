-- Record denied demand with its exact cause, for operators. The first refusal of a call stands; a replay changes nothing.
-- It counts for a window (the one that the detail names, else the one opened last) while that window is open, so that a
-- closed window's report stays as it was.
CREATE OR REPLACE FUNCTION rollout_refuse(
    p_feature text, p_call uuid, p_inviter uuid, p_callee uuid, p_callee_hash bytea, p_outcome text, p_detail jsonb
) RETURNS void LANGUAGE sql AS $$
    INSERT INTO rollout_refusal (feature_id, call, window_id, inviter, callee, outcome, detail, at)
    SELECT f.id, p_call, (
               SELECT w.id FROM rollout_window w WHERE w.feature_id = f.id AND w.state = 'open'
               AND w.id = coalesce((p_detail->>'window')::bigint, w.id) ORDER BY w.opened_at DESC LIMIT 1),
           p_inviter, p_callee, p_outcome,
           CASE WHEN p_callee IS NULL AND p_callee_hash IS NOT NULL
               THEN coalesce(p_detail, '{}') || jsonb_build_object('callee_hash', encode(p_callee_hash, 'hex'))
               ELSE coalesce(p_detail, '{}') END,
           clock_timestamp()
    FROM rollout_feature f WHERE f.key = p_feature
    ON CONFLICT (feature_id, call) DO NOTHING
$$;
