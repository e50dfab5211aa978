"""kill -9 of each process while a call is being answered: the books stay exact, and the same two people call again."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from controlplane.base import env, locations
from story.phones import Phone, PhoneFailed, phone_command
from story.rest import Refused, wait_until
from story.stack import Stack
from tests.faults.stacks import ROOT

pytestmark = pytest.mark.stack

AGAIN_SECONDS = 30
FEATURE = "voice-calls"
BOOKS = """
SELECT (SELECT count(*) FROM rollout_grant WHERE source = 'invite'),
       (SELECT sum(used) FROM rollout_window),
       (SELECT sum(used) FROM rollout_inviterplaces),
       (SELECT count(*) FROM outbox_outbox WHERE kind = 'grant.created' AND payload->>'source' = 'invite')
"""
OVERDUE = "SELECT count(*) FROM rollout_reservation WHERE state = 'pending' AND expires_at < clock_timestamp()"


@dataclass
class Stage:
    stack: Stack
    folder: Path
    caller: Phone
    block: int
    callees: int = 0

    def callee(self) -> tuple[Phone, str]:
        """A new phone, of somebody who has no calling yet."""
        self.callees += 1
        number = f"+49157{self.block}{self.callees:03d}"
        return start(self.stack, self.folder / f"callee-{self.callees}", number), number

    def kill(self, process: str) -> None:
        """As soon as it runs: the kill before this one may still be felt."""
        pid = wait_until(process, 20, lambda: self.pid(process))
        assert pid, f"{process} did not come back"
        os.kill(pid, signal.SIGKILL)

    def pid(self, process: str) -> int:
        """0 while it is being started again."""
        listed = subprocess.run(
            [sys.executable, "manage.py", "processes", "list", "--json"],
            env={**os.environ, "ROLLCALL_DATA": str(self.stack.data)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        rows = json.loads(listed.stdout)
        rows = rows["processes"] if isinstance(rows, dict) else rows
        return next(int(row["pid"] or 0) for row in rows if row["name"] == process)

    def ask(self, query: str) -> tuple[int, ...]:
        """One row of the stack's database."""
        url = locations.database_url(env.load({"ROLLCALL_DATA": str(self.stack.data)}))
        with psycopg.connect(url, autocommit=True) as connection:
            row = connection.execute(query).fetchone()
        assert row is not None
        return tuple(int(value or 0) for value in row)

    def ring(self, callee: Phone, number: str, until: float) -> int | None:
        """Call the same person again and again until the phone rings; the call's mark, or None when time is over."""
        while time.monotonic() < until:
            heard = callee.mark()
            mark = self.caller.do("call", to=number)
            try:
                callee.wait("ring", after=heard, seconds=3)
            except PhoneFailed:
                self.end_call(mark)
                time.sleep(0.5)
            else:
                return mark
        return None

    def end_call(self, mark: int) -> None:
        """Hang up, unless the call that began at the mark is over by itself."""
        if not any(event["event"] == "ended" for event in self.caller.events[mark:]):
            self.caller.do("hangup")
        self.caller.wait("ended", after=mark, seconds=20)


def start(stack: Stack, folder: Path, number: str) -> Phone:
    phone = Phone(folder.name, [*phone_command(), "--signaling-only"], folder, stack.url, ["run", "--phone", number])
    phone.wait("ready", seconds=60)
    return phone


@pytest.fixture(scope="module")
def stage(demonstration: Stack) -> Iterator[Stage]:
    with tempfile.TemporaryDirectory() as folder:
        block = secrets.randbelow(90_000) + 10_000
        caller = start(demonstration, Path(folder) / "caller", f"+49157{block}000")
        stage = Stage(demonstration, Path(folder), caller, block)
        rest = demonstration.operator
        window = {"feature": FEATURE, "name": "Kills", "quota": 100, "places": 200, "open": True, "reason": "Test."}
        rest.post("windows", window)
        rest.post("grants", {"feature": FEATURE, "subscribers": [f"+49157{block}000"], "reason": "Test."})
        caller.wait("grant", seconds=20)
        wait_until("allowance", 60, lambda: rest.get("areas/DE")["state"] == "ramp")
        yield stage
        caller.close()


@pytest.mark.parametrize("moment", ["ringing", "answering"])
@pytest.mark.parametrize("process", ["edge", "worker", "postgres", "redis", "web"])
def test_kill__of_a_process_in_a_call__keeps_the_books_and_the_two_call_again(
    stage: Stage, process: str, moment: str
) -> None:
    callee, number = stage.callee()
    mark = stage.ring(callee, number, time.monotonic() + AGAIN_SECONDS)  # the kill before this one may still be felt
    assert mark is not None

    if moment == "answering":
        callee.do("answer")
    stage.kill(process)
    killed = time.monotonic()
    if moment == "ringing":
        callee.do("answer")
    stage.end_call(mark)
    again = stage.ring(callee, number, killed + AGAIN_SECONDS)

    told = {phone.name: [e for e in phone.events if e["event"] != "status"][-25:] for phone in (stage.caller, callee)}
    assert again is not None, f"after the kill of {process} nothing rang within {AGAIN_SECONDS} s: {told}"
    stage.end_call(again)
    assert wait_until("the database", 20, lambda: reachable(stage)), "the stack did not come back"
    grants, places, inviter_places, announced = stage.ask(BOOKS)
    assert grants == places == inviter_places == announced
    assert wait_until("the sweeper", 20, lambda: stage.ask(OVERDUE) == (0,)), "a reservation outlived its expiry"
    callee.close()


def reachable(stage: Stage) -> bool:
    try:
        stage.stack.operator.get("deployment")
        return bool(stage.ask("SELECT 1"))
    except (Refused, OSError, psycopg.Error):
        return False
