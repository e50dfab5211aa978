-- The key of the area that a place belongs to, or null where no area covers it.
-- An area matches when each list that it has holds the value; one that names carriers beats one that names countries,
-- and both beat one that names neither. Agrees with rollout/rules/definition/area.py.
CREATE OR REPLACE FUNCTION rollout_area_of(p_country text, p_carrier text) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT key FROM rollout_area
    WHERE (countries = '{}' OR p_country = ANY (countries)) AND (carriers = '{}' OR p_carrier = ANY (carriers))
    ORDER BY carriers <> '{}' DESC, countries <> '{}' DESC, key COLLATE "C"
    LIMIT 1
$$;
