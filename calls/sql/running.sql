-- Whether a call connected, as far as the journal knows, and has not ended: only such a one may come back to life.
CREATE OR REPLACE FUNCTION calls_running(p_call uuid) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM calls_callrecord WHERE id = p_call AND connected_at IS NOT NULL AND ended_at IS NULL)
$$;
