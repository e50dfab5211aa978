-- A time as whole milliseconds since 1970, rounded down: "not past 10:00:00.0009" counts as past, never the other way.
CREATE OR REPLACE FUNCTION rollout_milliseconds(p_at timestamptz) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$ SELECT floor(extract(epoch FROM p_at) * 1000)::bigint $$;
