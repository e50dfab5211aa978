-- Who is called, by the number's hash or by id: traits, live devices, the newest signed device list and live grants.
-- Null when nobody is. Binary values are in base64.
CREATE OR REPLACE FUNCTION calls_party(p_hash bytea, p_id uuid) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'id', s.id, 'country', s.country, 'carrier', s.carrier, 'kind', s.kind, 'language', s.language,
        'joined_at', s.joined_at, 'accepts_invites', s.accepts_invites, 'traits', s.traits,
        'area', rollout_area_of(s.country, s.carrier),
        'phone_sealed', encode(s.phone_sealed, 'base64'),
        'devices', coalesce((
            SELECT jsonb_agg(jsonb_build_object(
                'id', d.id, 'platform', d.platform, 'app_version', d.app_version, 'os_version', d.os_version,
                'device_class', d.device_class, 'network_class', d.network_class, 'label', d.label) ORDER BY d.seen_at DESC, d.id)
            FROM accounts_device d WHERE d.subscriber_id = s.id AND d.revoked_at IS NULL), '[]'),
        'list', calls_device_list(s.id),
        'grants', coalesce((
            SELECT jsonb_object_agg(f.key, jsonb_build_object('id', g.id, 'src', g.source, 'depth', g.depth,
                'at', floor(extract(epoch FROM g.granted_at))::bigint, 'root', coalesce(g.root, g.id),
                'frozen', g.state = 'frozen'))
            FROM rollout_grant g JOIN rollout_feature f ON f.id = g.feature_id
            WHERE g.subscriber_id = s.id AND g.state IN ('active', 'frozen')), '{}'))
    FROM accounts_subscriber s
    WHERE CASE WHEN p_hash IS NOT NULL THEN s.phone_hash = p_hash ELSE s.id = p_id END
$$;
