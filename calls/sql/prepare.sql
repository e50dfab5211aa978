-- Everything that `prepare` needs about the two people, in one query that is the same whoever is called.
-- `p_country` is the country of the number that was dialled. `shown` are the facts that an unknown number of this country
-- would be judged by: a refusal shows these, so that nothing of the person decides what is shown.
CREATE OR REPLACE FUNCTION calls_prepare(
    p_feature text, p_caller uuid, p_device uuid, p_hash bytea, p_id uuid, p_country text DEFAULT NULL
) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'callee', c.party,
        'blocked', EXISTS (
            SELECT FROM accounts_block b WHERE b.blocker_id = (c.party->>'id')::uuid AND b.blocked_id = p_caller),
        'invite', rollout_invite_facts(p_feature, p_caller, (c.party->>'id')::uuid, p_country),
        'shown', rollout_invite_facts(p_feature, p_caller, NULL, coalesce(p_country, c.party->>'country')),
        'caller', (
            SELECT jsonb_build_object('phone_sealed', encode(s.phone_sealed, 'base64'), 'list', calls_device_list(s.id))
            FROM accounts_subscriber s JOIN accounts_device d ON d.subscriber_id = s.id
            WHERE s.id = p_caller AND d.id = p_device AND d.revoked_at IS NULL))
    FROM (SELECT calls_party(p_hash, p_id) AS party) c
$$;
