-- Write call records in a batch. A row with a higher version takes the place of an older one of the same call; a late
-- older one changes nothing. An end is final, whatever its version: versions begin anew when Redis has lost the call.
-- Times are epoch milliseconds. Returns how many rows were written.
CREATE OR REPLACE FUNCTION calls_journal(p_rows jsonb) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    v_written integer;
BEGIN
    INSERT INTO calls_callrecord AS c (
        id, feature, area, caller, callee, media, activating, state, reason, cause,
        created_at, rang_at, accepted_at, connected_at, ended_at, version)
    SELECT DISTINCT ON (r.id)
        r.id, r.feature, r.area, decode(r.caller, 'hex'), decode(r.callee, 'hex'), r.media, r.activating, r.state,
        coalesce(r.reason, ''), coalesce(r.cause, ''),
        to_timestamp(r.created_at / 1000.0), to_timestamp(r.rang_at / 1000.0), to_timestamp(r.accepted_at / 1000.0),
        to_timestamp(r.connected_at / 1000.0), to_timestamp(r.ended_at / 1000.0), r.version
    FROM jsonb_to_recordset(p_rows) AS r(
        id uuid, feature text, area text, caller text, callee text, media text, activating boolean, state text,
        reason text, cause text, created_at bigint, rang_at bigint, accepted_at bigint, connected_at bigint,
        ended_at bigint, version integer)
    ORDER BY r.id, r.version DESC
    ON CONFLICT (id) DO UPDATE SET
        state = excluded.state, reason = excluded.reason, cause = excluded.cause, rang_at = excluded.rang_at,
        accepted_at = excluded.accepted_at, connected_at = excluded.connected_at, ended_at = excluded.ended_at,
        version = excluded.version
    WHERE c.ended_at IS NULL AND (c.version < excluded.version OR excluded.ended_at IS NOT NULL);
    GET DIAGNOSTICS v_written = ROW_COUNT;
    INSERT INTO rollout_callevidence AS e (call, feature, area, "window", setup_ms, reason, at)
    SELECT DISTINCT ON (r.id) r.id, r.feature, r.area, r."window", r.setup_ms, coalesce(r.reason, ''),
        to_timestamp(r.created_at / 1000.0)
    FROM jsonb_to_recordset(p_rows) AS r(
        id uuid, feature text, area text, "window" bigint, setup_ms bigint, reason text, created_at bigint,
        version integer)
    ORDER BY r.id, r.version DESC
    ON CONFLICT (call) DO UPDATE SET
        setup_ms = coalesce(excluded.setup_ms, e.setup_ms), reason = coalesce(nullif(excluded.reason, ''), e.reason);
    RETURN v_written;
END $$;
