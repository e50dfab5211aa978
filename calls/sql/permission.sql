-- Everything that decides whether one person may call another now, in one query that is the same whoever is called.
-- `p_country` is the country of the number that was dialled. `shown` is judged for an unknown number of this country: a
-- refusal shows this, so that nothing of the person decides what is shown (docs/decisions/0009).
CREATE OR REPLACE FUNCTION calls_permission(
    p_feature text, p_caller uuid, p_hash bytea, p_id uuid, p_country text
) RETURNS jsonb LANGUAGE sql STABLE AS $$
    WITH callee AS MATERIALIZED (
        SELECT (SELECT s.id FROM accounts_subscriber s
                WHERE s.phone_hash = p_hash OR (p_hash IS NULL AND s.id = p_id)) AS id
    ), facts AS MATERIALIZED (
        SELECT c.id AS callee, rollout_invite_facts(p_feature, p_caller, c.id, p_country) AS invite,
            rollout_invite_facts(p_feature, p_caller, NULL, coalesce(p_country, s.country)) AS shown
        FROM callee c LEFT JOIN accounts_subscriber s ON s.id = c.id
    )
    SELECT jsonb_build_object(
        'at', f.invite->'at',
        'switch', f.invite->'feature'->'switch',
        'phone_sealed', (SELECT encode(s.phone_sealed, 'base64') FROM accounts_subscriber s WHERE s.id = p_caller),
        'caller', (SELECT person FROM rollout_people(ARRAY[p_caller])),
        'caller_list', calls_device_list(p_caller),
        'callee', (SELECT person FROM rollout_people(ARRAY[f.callee])),
        'callee_list', calls_device_list(f.callee),
        'blocked', EXISTS (SELECT FROM accounts_block WHERE blocker_id = f.callee AND blocked_id = p_caller),
        'invite', (SELECT v.detail || jsonb_build_object('outcome', v.outcome)
                   FROM rollout_invite_verdict(f.invite) v),
        'shown', (SELECT v.detail || jsonb_build_object('outcome', v.outcome, 'window', f.shown->'window')
                  FROM rollout_invite_verdict(f.shown) v))
    FROM facts f
$$;
