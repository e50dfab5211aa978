"""What may be told of invites. How they are judged is shown by tests/rollout/test_grants.py, situation by situation."""

from __future__ import annotations

import pytest

from rollout.rules.spread.invite import CALLEE_ONLY, Outcome, told, window_view


@pytest.mark.parametrize("outcome", Outcome)
def test_told__of_each_outcome__is_nothing_of_the_callee(outcome: Outcome) -> None:
    assert told(outcome) is (Outcome.OK if outcome in CALLEE_ONLY else outcome)


def test_window_view__for_everybody__says_open_closed_or_none() -> None:
    assert window_view({"open": True, "closes_at": None, "quota": 5}) == {"state": "open"}
    assert window_view({"open": True, "closes_at": 1773493200000}) == {"state": "open", "closes_at": 1773493200000}
    assert window_view({"open": False, "closes_at": 1773493200000}) == {"state": "closed"}
    assert window_view(None) == {"state": "none"}
