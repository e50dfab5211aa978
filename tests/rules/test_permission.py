"""May this person call that one now? Every branch, with one fact changed from a call that turns calling on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.rules.permission import Facts, NotNow, NotYours, Permission, Permitted, Shown, judge, read_facts
from rollout.rules.decision.decision import Cause, GrantFact
from rollout.rules.decision.person import Person
from rollout.rules.definition.feature import Switch
from rollout.rules.ruleset.document import read_ruleset
from rollout.rules.spread.invite import Outcome

CALLS = "voice-calls"
SHOWN = Shown({"state": "open"}, Outcome.OK)
OLD, NEW = {"platform": "android", "app_version": "2.11.0"}, {"platform": "android", "app_version": "2.12.0"}


def ruleset(**changes: Any) -> Any:
    feature = {
        "key": CALLS, "kind": "boolean", "salt": "s", "switch": "on", "access": "granted",
        "requirements": {"platforms": {"android": {"app": "2.12.0"}}}, **changes,
    }  # fmt: skip
    return read_ruleset({"version": 1, "published_at": 1, "features": {CALLS: feature}})


def person(name: str, grant: int | None = None, **devices: Mapping[str, Any]) -> Person:
    grants = {CALLS: GrantFact(grant, "invite")} if grant else {}
    return Person(name, {"country": "DE", "area": "DE"}, devices, grants, accepts_invites=True)


ALICE = person("alice", 7, a1=NEW, a2=OLD)
BOB = person("bob", b1=NEW, b2=OLD, b3=NEW)
FACTS = Facts(
    at=datetime(2026, 3, 14, 12, 0, tzinfo=UTC), switch=Switch.ON, caller=ALICE, callee=BOB, listed={"b1", "b2"},
    blocked=False, outcome=Outcome.OK, cause="", window=3, shown=SHOWN,
)  # fmt: skip
RULES = ruleset()


def judged(device: str = "a1", **changes: Any) -> Permission:
    return judge(RULES, CALLS, device, replace(FACTS, **changes))


def test_callee__without_it__is_called_on_listed_phones_that_could_have_it_and_the_call_turns_it_on() -> None:
    assert judged() == Permitted(BOB, ("b1",), True, 7, {"state": "open"})


def test_callee__who_has_it__is_called_plainly_whatever_the_window_says() -> None:
    has = person("bob", 8, b1=NEW, b2=OLD)

    assert judged(callee=has, outcome=Outcome.WINDOW_CLOSED) == Permitted(has, ("b1",), False, 7, {"state": "open"})


@pytest.mark.parametrize(
    ("changes", "outcome", "cause"),
    [
        ({"callee": None}, Outcome.CALLEE_INELIGIBLE, "unknown"),
        ({"callee": ALICE}, Outcome.CALLEE_INELIGIBLE, "oneself"),
        ({"blocked": True}, Outcome.CALLEE_OPTED_OUT, "blocked"),
        ({"listed": ()}, Outcome.CALLEE_INELIGIBLE, "no_device"),
        ({"callee": person("bob")}, Outcome.CALLEE_INELIGIBLE, "no_device"),
        ({"listed": {"b2"}}, Outcome.CALLEE_INELIGIBLE, "update_required"),
        ({"outcome": Outcome.THROTTLED, "cause": "hold"}, Outcome.THROTTLED, "hold"),
        ({"outcome": Outcome.QUOTA_SPENT}, Outcome.QUOTA_SPENT, ""),
    ],
)
def test_callee__who_can_t_be_called__is_refused_with_what_everybody_is_shown(
    changes: dict[str, Any], outcome: Outcome, cause: str
) -> None:
    assert judged(**changes) == NotNow(outcome, cause, 3, SHOWN)


@pytest.mark.parametrize(
    ("device", "changes", "cause"),
    [
        ("a1", {"caller": person("alice", a1=NEW)}, Cause.WAITING_FOR_LAUNCH),
        ("a2", {}, Cause.UPDATE_REQUIRED),
        ("a1", {"switch": Switch.KILLED}, Cause.KILLED),
        ("a1", {"switch": Switch.OFF}, Cause.SWITCHED_OFF),
    ],
)
def test_caller__without_the_feature__is_told_why(device: str, changes: dict[str, Any], cause: Cause) -> None:
    permission = judged(device, **changes)

    assert isinstance(permission, NotYours)
    assert (permission.decision.cause, permission.decision.enabled) == (cause, False)


def test_caller__where_it_is_launched__needs_no_grant() -> None:
    facts = replace(FACTS, caller=person("alice", a1=NEW))

    permission = judge(ruleset(access="everyone"), CALLS, "a1", facts)

    assert permission == Permitted(BOB, ("b1",), False, None, {"state": "open"})


@given(
    st.sampled_from([None, ALICE, BOB, person("bob", 8, b1=NEW), person("bob")]),
    st.booleans(),
    st.sampled_from(list(Outcome)),
    st.sampled_from([set(), {"b1"}, {"b2"}]),
)
def test_refusal__whoever_is_called__shows_the_same(callee: Any, blocked: bool, outcome: Outcome, listed: Any) -> None:
    permission = judged(callee=callee, blocked=blocked, outcome=outcome, listed=listed)

    assert isinstance(permission, Permitted) or (isinstance(permission, NotNow) and permission.shown == SHOWN)


def test_facts__as_postgresql_gives_them__show_nothing_of_the_callee_and_whole_seconds() -> None:
    row = {"id": "alice", "traits": {}, "devices": [], "grants": {}, "accepts_invites": True}
    read = {
        "at": 1_773_489_600_000, "switch": None, "caller": row, "callee": None, "blocked": False,
        "invite": {"outcome": "callee_ineligible", "cause": "unknown"},
        "shown": {"outcome": "callee_ineligible", "retry_at": 1_773_489_600_001, "window": None},
    }  # fmt: skip

    facts = read_facts(read, ())

    assert facts.shown == Shown({"state": "none"}, Outcome.OK, 1_773_489_601_000)
    assert (facts.switch, facts.window, facts.cause) == (Switch.OFF, None, "unknown")
