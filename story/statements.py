"""What the story claims: a fixed list of statements, each with what is expected.

The list is written before anything is played. A statement that is missing at the end fails like one that differs.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

from story.progress import progress

STATEMENTS: dict[str, tuple[str, Any]] = {
    "1.alice_can_call": ("alice has calling", True),
    "1.bob_is_refused": ("bob's call is refused, and he is told why", "not_enabled"),
    "2.ringing_grants_nothing": ("while bob's phone rings, nothing is granted", False),
    "2.call_connects": ("alice's call to bob connects", "connected"),
    "2.grant_within_a_second": ("bob's open socket receives the grant within 1 s of his accept", True),
    "2.old_token_answers_true": ("OFREP answers true for the token issued before the call", True),
    "2.sources_agree": ("OFREP, /v1/me/features, explain and the overview agree about bob", True),
    "2.alice_hears_bob": ("alice's recording holds bob's tone for 3 s, and not her own", "bob only"),
    "2.bob_hears_alice": ("bob's recording holds alice's tone for 3 s, and not his own", "alice only"),
    "3.depth_is_refused": ("bob calls carol: the window's depth is reached", "depth"),
    "3.carol_has_nothing": ("carol is granted nothing", False),
    "3.unanswered_call_ends": ("alice's call to dave rings and ends unanswered", "no_answer"),
    "3.unanswered_grants_nothing": ("dave is granted nothing", False),
    "3.places_are_returned": ("no reservation is left and one place is used", {"pending": 0, "used": 1}),
    "4.call_after_close_ends": (
        "carol answers after the close: both phones learn why",
        ["not_activated", "window_closed", "not_activated", "window_closed"],
    ),
    "4.close_grants_nothing": ("carol is granted nothing", False),
    "4.those_who_have_it_keep_it": ("alice calls bob after the close", "connected"),
    "4.report_matches": ("window A's report matches what the story saw", True),
    "5.offer_activates": ("bob calls carol: being called activates her", True),
    "6.load_is_measured": ("the Celery task measures 17 of 20 calls and holds", {"calls": 17, "state": "hold"}),
    "6.invite_is_throttled": ("alice calls dave: throttled, with a time to try again", ["throttled", True]),
    "6.wave_stands_still": ("the open wave admits nobody, and says why", {"admitted": 0, "says_why": True}),
    "6.allowance_returns": ("five calls hang up: within two ticks dave is activated by alice's call", True),
    "6.wave_completes": ("the wave completes with all 200", {"state": "done", "admitted": 200}),
    "6.blind_means_zero": ("with the worker stopped, activations hold in time", "throttled"),
    "6.worker_resumes": ("with the worker started again, activations resume", True),
    "7.erin_waits_throughout": ("erin, who knows nobody, waited for the launch each time", ["waiting_for_launch"]),
    "7.launch_reaches_erin": ("after the launch erin calls alice", "connected"),
    "8.kill_ends_the_call": ("the kill ends the running call on both phones", ["stopped", "stopped"]),
    "8.kill_stops_calls": ("nobody can call", "stopped"),
    "8.unkill_restores": ("after the un-kill each decision is what it was before", True),
    "9.invite_tree": (
        "the invite tree is alice → bob → carol, and alice → dave",
        {"alice": ["bob", "dave"], "bob": ["carol"]},
    ),
    "9.audit_verifies": ("the audit trail verifies", True),
    "9.set_up_times": ("each connected call has a set-up time", True),
}


class StatementFailed(Exception):
    """What was observed is not what is expected; the story ends here."""


@dataclass(slots=True)
class Observation:
    """One statement, with what was seen, where, and when (epoch milliseconds)."""

    id: str
    expected: Any
    observed: Any
    source: str
    at: int

    @property
    def holds(self) -> bool:
        return bool(self.observed == self.expected)


@dataclass(slots=True)
class Ledger:
    """Observations in the order in which they were made."""

    seen: list[Observation] = field(default_factory=list)

    def observe(self, id: str, observed: Any, source: str) -> None:
        """Note what was seen. Raises `StatementFailed` when it differs, so that the story stops at that statement."""
        words, expected = STATEMENTS[id]
        seen = Observation(id, expected, observed, source, time.time_ns() // 1_000_000)
        self.seen.append(seen)
        progress.say(f"   {'✓' if seen.holds else '✗'} {words}.")
        if not seen.holds:
            raise StatementFailed(f"{id}: {words}. Expected {expected!r}, observed {observed!r} ({source}).")

    def fail_next(self, why: str) -> None:
        """Something went wrong on the way to the next statement: it differs, and what was observed is the fault."""
        if missing := self.missing():
            self.seen.append(Observation(missing[0], STATEMENTS[missing[0]][1], why, "the story", 0))

    def missing(self) -> list[str]:
        known = {seen.id for seen in self.seen}
        return [id for id in STATEMENTS if id not in known]

    def all_hold(self) -> bool:
        return not self.missing() and all(seen.holds for seen in self.seen)

    def as_json(self) -> list[dict[str, Any]]:
        missing = [Observation(id, STATEMENTS[id][1], None, "never observed", 0) for id in self.missing()]
        return [asdict(seen) for seen in [*self.seen, *missing]]
