"""The story with one thing broken at a time, where it must notice.

The breaks are made in the stack's database, never by a switch in the code: what runs is what is shipped.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from controlplane.base import env, locations
from story.stack import Stack
from tests.story.play import ROOT, play

pytestmark = pytest.mark.stack

GRANT_ON_RING = """
ALTER FUNCTION rollout_reserve RENAME TO rollout_reserve_whole;
CREATE FUNCTION rollout_reserve(
    p_feature text, p_call uuid, p_inviter uuid, p_callee uuid, p_ttl interval, OUT outcome text, OUT detail jsonb
) LANGUAGE plpgsql AS $$
BEGIN
    SELECT s.outcome, s.detail INTO outcome, detail
        FROM rollout_reserve_whole(p_feature, p_call, p_inviter, p_callee, p_ttl) s;
    IF outcome = 'reserved' THEN
        PERFORM rollout_complete(p_feature, p_call);
    END IF;
END $$;
"""
NOT_ON_RING = "DROP FUNCTION rollout_reserve; ALTER FUNCTION rollout_reserve_whole RENAME TO rollout_reserve"
CLOSE_NOTHING = """
ALTER FUNCTION rollout_close_window RENAME TO rollout_close_window_whole;
CREATE FUNCTION rollout_close_window(
    p_window bigint, OUT closed boolean, OUT cancelled integer, OUT closed_at timestamptz
) LANGUAGE plpgsql AS $$
BEGIN
    closed := true;
    cancelled := 0;
    closed_at := clock_timestamp();
END $$;
"""
CLOSE_AGAIN = (
    "DROP FUNCTION rollout_close_window; ALTER FUNCTION rollout_close_window_whole RENAME TO rollout_close_window"
)
KILL_NOTHING = """
CREATE FUNCTION break_kill() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.switch = 'killed' THEN
        NEW.switch := 'on';
        NEW.stop_calls_before := OLD.stop_calls_before;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER break_kill BEFORE UPDATE ON rollout_feature FOR EACH ROW EXECUTE FUNCTION break_kill();
"""
KILL_AGAIN = "DROP FUNCTION break_kill() CASCADE"
THROTTLE_NOTHING = """
CREATE FUNCTION break_area() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.state := 'ramp';
    RETURN NEW;
END $$;
CREATE TRIGGER break_area BEFORE UPDATE ON rollout_area FOR EACH ROW EXECUTE FUNCTION break_area();
CREATE FUNCTION break_allowance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.remaining := 1000;
    NEW.valid_until := clock_timestamp() + interval '1 hour';
    RETURN NEW;
END $$;
CREATE TRIGGER break_allowance BEFORE UPDATE ON rollout_allowance FOR EACH ROW EXECUTE FUNCTION break_allowance();
"""
THROTTLE_AGAIN = "DROP FUNCTION break_area() CASCADE; DROP FUNCTION break_allowance() CASCADE"

BREAKS = {
    "grant_on_ring": (GRANT_ON_RING, NOT_ON_RING, "2.ringing_grants_nothing"),
    "close_that_does_not_close": (CLOSE_NOTHING, CLOSE_AGAIN, "4.call_after_close_ends"),
    "throttle_ignored": (THROTTLE_NOTHING, THROTTLE_AGAIN, "6.invite_is_throttled"),
    "kill_ignored": (KILL_NOTHING, KILL_AGAIN, "8.kill_ends_the_call"),
}


@pytest.fixture(scope="module")
def another() -> Iterator[Stack]:
    """A demonstration that may be broken."""
    stack = Stack(Path())
    stack.start_own(fast=True)
    yield stack
    stack.close()


def first_failure(rows: dict[str, dict[str, object]]) -> str | None:
    return next((id for id, row in rows.items() if row["observed"] != row["expected"]), None)


def database(stack: Stack) -> psycopg.Connection:
    settings = {"ROLLCALL_DATA": str(stack.data)}
    return psycopg.connect(locations.owner_url(env.load(settings)) or "", autocommit=True)


@pytest.mark.parametrize("broken", BREAKS)
def test_story__with_one_thing_broken__fails_at_that_statement(another: Stack, broken: str) -> None:
    sabotage, repair, statement = BREAKS[broken]
    with database(another) as connection:
        connection.execute(sabotage)
        try:
            code, rows = play(another)
        finally:
            connection.execute(repair)

    assert first_failure(rows) == statement
    assert code == 1


def test_story__with_sound_looped_back__fails_at_what_alice_hears(another: Stack) -> None:
    code, rows = play(another, "--phone", f"{sys.executable} {ROOT / 'tests/story/looping_phone.py'}")

    assert first_failure(rows) == "2.alice_hears_bob"
    assert code == 1
