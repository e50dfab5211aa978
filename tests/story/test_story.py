"""The story, played whole; and what stands around it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from controlplane.base import env
from story.stack import FAST_SETTINGS, Stack
from story.statements import STATEMENTS, Ledger, StatementFailed
from tests.story.play import ROOT, play

STORY_SECONDS = 300


@pytest.mark.stack
@pytest.mark.parametrize("run", ["first", "second"])
def test_story__twice_in_a_row_on_one_stack__holds_in_every_statement(demonstration: Stack, run: str) -> None:
    code, rows = play(demonstration)

    assert {id: row["observed"] for id, row in rows.items()} == {id: row["expected"] for id, row in rows.items()}
    assert list(rows) == list(STATEMENTS)
    assert all(row["source"] and row["at"] for row in rows.values())
    assert code == 0


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
