"""The story, played whole on a stack of its own; and with one thing broken at a time, where it must notice.

The breaks are made in the stack's database, never by a switch in the code: what runs is what is shipped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from controlplane.base import env, locations
from story.stack import FAST_SETTINGS, Stack
from story.statements import STATEMENTS, Ledger, StatementFailed

ROOT = Path(__file__).resolve().parents[2]
STORY_SECONDS = 300

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


def play(stack: Stack, *options: str) -> tuple[int, dict[str, dict[str, object]]]:
    """Play the fast story as a process of its own; its exit code and its statements by id."""
    done = subprocess.run(
        [sys.executable, "manage.py", "story", "--json", "--fast", "--data", str(stack.data), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=STORY_SECONDS,
    )
    assert done.stdout, f"The story told nothing: {done.stderr}"
    print(done.stderr)
    return done.returncode, {row["id"]: row for row in json.loads(done.stdout)}


def first_failure(rows: dict[str, dict[str, object]]) -> str | None:
    return next((id for id, row in rows.items() if row["observed"] != row["expected"]), None)


def database(stack: Stack) -> psycopg.Connection:
    settings = {"ROLLCALL_DATA": str(stack.data)}
    return psycopg.connect(locations.database_url(env.load(settings)), autocommit=True)


@pytest.mark.stack
@pytest.mark.xdist_group("demonstration")
@pytest.mark.parametrize("run", ["first", "second"])
def test_story__twice_in_a_row_on_one_stack__holds_in_every_statement(demonstration: Stack, run: str) -> None:
    code, rows = play(demonstration)

    assert {id: row["observed"] for id, row in rows.items()} == {id: row["expected"] for id, row in rows.items()}
    assert list(rows) == list(STATEMENTS)
    assert all(row["source"] and row["at"] for row in rows.values())
    assert code == 0


@pytest.mark.stack
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


@pytest.mark.stack
def test_story__with_sound_looped_back__fails_at_what_alice_hears(another: Stack) -> None:
    code, rows = play(another, "--phone", f"{sys.executable} {ROOT / 'tests/story/looping_phone.py'}")

    assert first_failure(rows) == "2.alice_hears_bob"
    assert code == 1


def test_story__without_a_stack_to_sign_in_to__says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="Start `make run` first"):
        Stack(tmp_path).open()


def test_ledger__missing_statement__does_not_hold() -> None:
    ledger = Ledger()
    for id, (_, expected) in list(STATEMENTS.items())[:-1]:
        ledger.observe(id, expected, "test")

    assert not ledger.all_hold()
    assert ledger.as_json()[-1]["observed"] is None

    ledger.observe(list(STATEMENTS)[-1], True, "test")

    assert ledger.all_hold()


def test_ledger__differing_statement__ends_the_story_there() -> None:
    ledger = Ledger()

    with pytest.raises(StatementFailed, match=r"1\.alice_can_call"):
        ledger.observe("1.alice_can_call", False, "test")

    assert not ledger.all_hold()


def test_manage_story__environment_with_stores__hides_them() -> None:
    code = "import sys, manage, runpy, os; runpy.run_module = lambda *a, **k: print(sorted(os.environ)); manage.main()"
    stores = {"DATABASE_URL": "postgresql://x", "REDIS_URL": "redis://x", "ROLLCALL_SECRET": "00"}

    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv = ['manage.py', 'story']; {code}"],
        cwd=ROOT,
        env={**os.environ, **stores},
        capture_output=True,
        text=True,
        check=True,
    )

    assert not any(store in done.stdout for store in stores)


def test_fast_settings__are__settings_of_the_deployment() -> None:
    shortened = env.load({**FAST_SETTINGS, "ROLLCALL_SECRET": "00" * 32})

    assert shortened.ring_seconds < env.load({"ROLLCALL_SECRET": "00" * 32}).ring_seconds
