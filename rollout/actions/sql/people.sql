-- Who these people are, as every decision sees them, a row each in the order of their ids: traits of their own (the
-- built-in ones beat custom ones), those of each live device, the one seen last first, and live grants by feature.
-- accounts/rules/traits.py lists the built-in traits for readers in columns.
CREATE OR REPLACE FUNCTION rollout_people(p_ids uuid[]) RETURNS TABLE (person jsonb)
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'id', s.id,
        'accepts_invites', s.accepts_invites,
        'traits', s.traits || jsonb_build_object(
            'country', s.country, 'carrier', s.carrier, 'kind', s.kind, 'language', s.language,
            'joined_at', to_char(s.joined_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
            'area', coalesce(rollout_area_of(s.country, s.carrier), '')),
        'devices', coalesce((
            SELECT jsonb_agg(jsonb_build_object('id', d.id, 'traits', jsonb_build_object(
                'platform', d.platform, 'app_version', d.app_version, 'os_version', d.os_version,
                'device_class', d.device_class, 'network_class', d.network_class)) ORDER BY d.seen_at DESC, d.id)
            FROM accounts_device d WHERE d.subscriber_id = s.id AND d.revoked_at IS NULL), '[]'),
        'grants', coalesce((
            SELECT jsonb_object_agg(f.key, jsonb_build_object(
                'id', g.id, 'src', g.source, 'depth', g.depth, 'root', coalesce(g.root, g.id),
                'at', floor(extract(epoch FROM g.granted_at))::bigint, 'frozen', g.state = 'frozen'))
            FROM rollout_grant g JOIN rollout_feature f ON f.id = g.feature_id
            WHERE g.subscriber_id = s.id AND g.state IN ('active', 'frozen')), '{}'))
    FROM accounts_subscriber s WHERE s.id = ANY (p_ids) ORDER BY s.id
$$;
