"""Refresh tokens: rotate, repeat, refuse, or end the device."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from controlplane.accounts.rules.refresh import Outcome, Spending, decide, successor

NOW = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)
LATER, LONG_AGO = NOW + timedelta(days=1), NOW - timedelta(minutes=5)
JUST_NOW, HALF_A_MINUTE, JUST_OVER = (NOW - timedelta(seconds=seconds) for seconds in (1, 30, 31))


@pytest.mark.parametrize(
    ("token", "outcome"),
    [
        (Spending(LATER, None, False), Outcome.ROTATE),
        (Spending(NOW, None, False), Outcome.REFUSE),
        (Spending(LATER, JUST_NOW, False), Outcome.REPEAT),
        (Spending(LATER, HALF_A_MINUTE, False), Outcome.REPEAT),
        (Spending(LATER, JUST_OVER, False), Outcome.END_DEVICE),
        (Spending(LATER, JUST_NOW, True), Outcome.END_DEVICE),
        (Spending(LATER, LONG_AGO, True), Outcome.END_DEVICE),
        (Spending(NOW, LONG_AGO, True), Outcome.REFUSE),
    ],
)
def test_decision__by_what_is_known_of_the_token(token: Spending, outcome: Outcome) -> None:
    assert decide(token, NOW) is outcome


def test_successor__needs_the_key_and_the_token__and_is_always_the_same() -> None:
    assert successor("rt_a", b"k" * 32) == successor("rt_a", b"k" * 32)
    assert len({successor("rt_a", b"k" * 32), successor("rt_b", b"k" * 32), successor("rt_a", b"l" * 32)}) == 3
