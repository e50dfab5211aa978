-- Give the feature to people by an operator's or a seed's hand: they become roots of their own branches. Whoever has it
-- keeps what they have. These grants draw on no allowance: somebody named these people, and answers for it.
CREATE OR REPLACE FUNCTION rollout_grant(p_feature text, p_subscribers uuid[], p_source text, p_by text) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    v_feature bigint;
    v_made bigint[];
BEGIN
    SELECT id INTO STRICT v_feature FROM rollout_feature WHERE key = p_feature;
    PERFORM 1 FROM accounts_subscriber WHERE id = ANY (p_subscribers) ORDER BY id FOR NO KEY UPDATE;
    WITH made AS (
        INSERT INTO rollout_grant (feature_id, subscriber_id, source, depth, area_id, state, granted_at, granted_by)
        SELECT v_feature, s.id, p_source, 0, a.id, 'active', clock_timestamp(), left(p_by, 150)
        FROM accounts_subscriber s LEFT JOIN rollout_area a ON a.key = rollout_area_of(s.country, s.carrier)
        WHERE s.id = ANY (p_subscribers) AND NOT EXISTS (SELECT FROM rollout_grant g
            WHERE g.feature_id = v_feature AND g.subscriber_id = s.id AND g.state IN ('active', 'frozen'))
        ORDER BY s.id
        ON CONFLICT DO NOTHING RETURNING id)
    SELECT array_agg(id ORDER BY id) INTO v_made FROM made;
    PERFORM rollout_announce(v_made);
    RETURN jsonb_build_object(
        'granted', coalesce((SELECT jsonb_agg(rollout_grant_detail(made)) FROM unnest(v_made) AS made), '[]'),
        'already', coalesce((SELECT jsonb_agg(g.subscriber_id) FROM rollout_grant g
            WHERE g.feature_id = v_feature AND g.subscriber_id = ANY (p_subscribers) AND g.state IN ('active', 'frozen')
            AND g.id <> ALL (coalesce(v_made, '{}'))), '[]'),
        'unknown', coalesce((SELECT jsonb_agg(named) FROM unnest(p_subscribers) AS named
            WHERE NOT EXISTS (SELECT FROM accounts_subscriber s WHERE s.id = named)), '[]'));
END $$;
