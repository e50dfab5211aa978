"""The invite rule alone. That SQL judges alike is shown by tests/rollout/test_grants.py, situation by situation."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.rules.spread.invite import (
    CALLEE_ONLY,
    Area,
    Callee,
    InviteFacts,
    InviterGrant,
    Outcome,
    Places,
    Window,
    decide,
    decide_for_inviter,
    window_view,
)

NOW = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
TICK = NOW + timedelta(seconds=9)

WINDOW = Window(7, "open", "answered", None, 10, 3, 2, timedelta(0), None)
AREA = Area("DE", "ramp", "DE takes people in.", 100, NOW + timedelta(seconds=30), TICK)
BOB = Callee(accepts_invites=True, blocked=False, reserved=False, enabled=False)
ALICE = InviterGrant(1, "active", 0, 1, NOW - HOUR)
OPEN = InviteFacts("on", ALICE, 0, BOB, WINDOW, Places(1, 1, 5), Places(1, 1, 1000), AREA)

CALLEES = [
    None,
    *(Callee(a, b, r, e) for a, b, r, e in product((True, False), repeat=4)),
]
SHOWN = {
    "ok": (OPEN, Outcome.OK, None),
    "no grant": (replace(OPEN, inviter=None), Outcome.INVITER_FROZEN, None),
    "frozen": (replace(OPEN, inviter=replace(ALICE, state="frozen")), Outcome.INVITER_FROZEN, None),
    "too often": (replace(OPEN, recent=60), Outcome.RATE_LIMITED, NOW + timedelta(minutes=1)),
    "off": (replace(OPEN, switch="off"), Outcome.WINDOW_CLOSED, None),
    "no window": (replace(OPEN, window=None), Outcome.WINDOW_CLOSED, None),
    "closed": (replace(OPEN, window=replace(WINDOW, state="closed")), Outcome.WINDOW_CLOSED, None),
    "closing now": (replace(OPEN, window=replace(WINDOW, closes_at=NOW)), Outcome.WINDOW_CLOSED, None),
    "depth": (replace(OPEN, window=replace(WINDOW, depth_limit=0)), Outcome.DEPTH, None),
    "too new": (
        replace(OPEN, window=replace(WINDOW, min_grant_age=2 * HOUR)),
        Outcome.INVITER_TOO_NEW,
        NOW + HOUR,
    ),
    "quota": (replace(OPEN, quota=Places(3, 2, 5)), Outcome.QUOTA_SPENT, None),
    "root": (replace(OPEN, root=Places(999, 1, 1000)), Outcome.ROOT_BUDGET, None),
    "budget": (replace(OPEN, window=replace(WINDOW, used=8)), Outcome.BUDGET_SPENT, None),
    "no area": (replace(OPEN, area=None), Outcome.THROTTLED, None),
    "hold": (replace(OPEN, area=replace(AREA, state="hold")), Outcome.THROTTLED, TICK),
    "unknown": (replace(OPEN, area=replace(AREA, state="unknown")), Outcome.THROTTLED, TICK),
    "allowance over": (replace(OPEN, area=replace(AREA, valid_until=NOW)), Outcome.THROTTLED, TICK),
    "allowance spent": (replace(OPEN, area=replace(AREA, remaining=0)), Outcome.THROTTLED, TICK),
}


@pytest.mark.parametrize("situation", SHOWN)
def test_shown_verdict__in_each_situation__has_its_outcome_and_time(situation: str) -> None:
    facts, outcome, retry_at = SHOWN[situation]

    verdict = decide_for_inviter(facts, NOW)

    assert (verdict.outcome, verdict.retry_at) == (outcome, retry_at)


@pytest.mark.parametrize("situation", SHOWN)
def test_shown_verdict__whoever_the_callee_is__stays_the_same(situation: str) -> None:
    facts, *_ = SHOWN[situation]

    assert len({decide_for_inviter(replace(facts, callee=callee), NOW) for callee in CALLEES}) == 1


@pytest.mark.parametrize("situation", SHOWN)
@pytest.mark.parametrize("callee", CALLEES)
def test_verdict__of_each_callee__tells_of_the_callee_only_when_nothing_else_stands_against(
    situation: str, callee: Callee | None
) -> None:
    facts, shown, _ = SHOWN[situation]

    verdict = decide(replace(facts, callee=callee), NOW)

    if callee is not None and callee.enabled and not callee.blocked:
        assert verdict.outcome is Outcome.ALREADY
    elif shown is not Outcome.OK:
        assert verdict.outcome is shown
    elif callee == BOB:
        assert verdict.outcome is Outcome.OK
    else:
        assert verdict.outcome in CALLEE_ONLY


@given(used=st.integers(0, 20), pending=st.integers(0, 20), allowed=st.integers(0, 20))
def test_places__counted__are_left_below_what_is_allowed(used: int, pending: int, allowed: int) -> None:
    assert Places(used, pending, allowed).left() == (used + pending < allowed)


def test_window_view__for_everybody__says_open_closed_or_none() -> None:
    closing = replace(OPEN, window=replace(WINDOW, closes_at=NOW + HOUR))

    assert window_view(OPEN, NOW) == {"state": "open"}
    assert window_view(closing, NOW) == {"state": "open", "closes_at": 1773493200000}
    assert window_view(closing, NOW + HOUR) == {"state": "closed"}
    assert window_view(replace(OPEN, window=None), NOW) == {"state": "none"}
