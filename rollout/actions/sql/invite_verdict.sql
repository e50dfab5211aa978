-- The outcome that the facts lead to, first decisive wins; `ok` when an invite may go out. `cause` is for operators;
-- `retry_at` says when asking again may help, and is missing when nobody can tell.
--
-- What a caller may learn is about themselves and the window only, so every outcome that concerns these comes before every
-- one that concerns the callee; what is shown is judged for an unknown person of the number's country
-- (docs/decisions/0009). Unknown capacity is never good: no area, one that nobody measures, and allowance that ran out
-- all throttle. `already` means that no invite is needed: they may be called plainly.
CREATE OR REPLACE FUNCTION rollout_invite_verdict(p_facts jsonb, OUT outcome text, OUT detail jsonb)
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    f jsonb := jsonb_strip_nulls(p_facts);
    v_now bigint := (f->>'at')::bigint;
    v_retry bigint;
    v_cause text;
    w jsonb := f->'window';
    g jsonb := f->'caller'->'grant';
    c jsonb := f->'callee';
    a jsonb := f->'area';
BEGIN
    CASE
    WHEN c->'grant' IS NOT NULL AND NOT (c->>'blocked')::boolean THEN
        outcome := 'already';
    WHEN g IS NULL THEN
        outcome := 'inviter_frozen'; v_cause := 'no_grant';
    WHEN g->>'state' = 'frozen' THEN
        outcome := 'inviter_frozen';
    WHEN (f->'caller'->>'recent')::int >= 60 THEN  -- demands in a minute, refused ones included
        outcome := 'rate_limited'; v_retry := v_now + 60000;
    WHEN f->'feature'->>'switch' <> 'on' THEN
        outcome := 'window_closed'; v_cause := 'feature_' || (f->'feature'->>'switch');
    WHEN w IS NULL THEN
        outcome := 'window_closed'; v_cause := 'no_window';
    WHEN NOT (w->>'open')::boolean THEN
        outcome := 'window_closed';
    WHEN (g->>'depth')::int + 1 > (w->>'depth_limit')::int THEN
        outcome := 'depth';
    WHEN (g->>'at')::bigint + (w->>'min_grant_age_s')::bigint * 1000 > v_now THEN
        outcome := 'inviter_too_new'; v_retry := (g->>'at')::bigint + (w->>'min_grant_age_s')::bigint * 1000;
    WHEN (f->'inviter'->>'used')::int + (f->'inviter'->>'pending')::int >= (f->'inviter'->>'allowed')::int THEN
        outcome := 'quota_spent';
    WHEN (f->'root'->>'used')::int + (f->'root'->>'pending')::int >= (f->'root'->>'allowed')::int THEN
        outcome := 'root_budget';
    WHEN (w->>'used')::int + (w->>'pending')::int >= (w->>'budget')::int THEN
        outcome := 'budget_spent';
    WHEN a IS NULL THEN
        outcome := 'throttled'; v_cause := 'no_area';
    WHEN a->>'state' = 'hold' THEN
        outcome := 'throttled'; v_cause := 'hold'; v_retry := (a->>'retry_at')::bigint;
    WHEN a->>'state' <> 'ramp' OR (a->>'valid_until')::bigint <= v_now THEN
        outcome := 'throttled'; v_cause := 'capacity_unknown'; v_retry := (a->>'retry_at')::bigint;
    WHEN (a->>'remaining')::int <= 0 THEN
        outcome := 'throttled'; v_cause := 'allowance_spent'; v_retry := (a->>'retry_at')::bigint;
    WHEN c IS NULL THEN
        outcome := 'callee_ineligible'; v_cause := 'unknown';
    WHEN (c->>'blocked')::boolean THEN
        outcome := 'callee_opted_out'; v_cause := 'blocked';
    WHEN NOT (c->>'accepts_invites')::boolean THEN
        outcome := 'callee_opted_out'; v_cause := 'no_invites';
    WHEN (c->>'reserved')::boolean THEN
        outcome := 'callee_ineligible'; v_cause := 'reserved_elsewhere';
    ELSE
        outcome := 'ok';
    END CASE;
    detail := jsonb_strip_nulls(jsonb_build_object(
        'cause', v_cause, 'retry_at', v_retry, 'window', w->'id', 'area', a->'key', 'grant', c->'grant'->'id'));
END $$;
