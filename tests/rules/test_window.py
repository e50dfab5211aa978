from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.rules.numbers import percentile
from rollout.rules.spread.window import Counted, WindowState, can_open, report

COUNTED = Counted(
    opened_at=datetime(2026, 3, 14, 12, 0, tzinfo=UTC),
    closed_at=datetime(2026, 3, 14, 14, 0, tzinfo=UTC),
    places=1000,
    used=2,
    grants=2,
    announced=2,
    by_depth={2: 1, 1: 1},
    reservations={"released": 3, "completed": 2},
    refusals={"depth": 4, "callee_opted_out": 1},
    peak_calls=17,
    setup_ms=[900, 700],
)


@pytest.mark.parametrize("state", WindowState)
def test_window__in_each_state__opens_once(state: WindowState) -> None:
    assert can_open(state) is (state is WindowState.SCHEDULED)


def test_report__of_counted_numbers__says_them_all() -> None:
    assert report(COUNTED) == {
        "opened_at": "2026-03-14T12:00:00+00:00",
        "closed_at": "2026-03-14T14:00:00+00:00",
        "places": 1000,
        "activations": 2,
        "by_depth": {"1": 1, "2": 1},
        "reservations": {"completed": 2, "released": 3},
        "refusals": {"callee_opted_out": 1, "depth": 4},
        "denied": 5,
        "peak_calls": 17,
        "setup_ms": {"n": 2, "p50": 700, "p95": 900},
        "matches_ledger": True,
        "ledger": {"grants": 2, "places_used": 2, "announced": 2},
    }


@pytest.mark.parametrize("wrong", [{"used": 3}, {"grants": 1}, {"announced": 1}, {"reservations": {"completed": 1}}])
def test_report__of_books_that_differ__says_so(wrong: dict[str, object]) -> None:
    assert report(replace(COUNTED, **wrong))["matches_ledger"] is False


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, None), ([7], 0.95, 7), ([1, 2, 3, 4], 0.5, 2), (list(range(1, 101)), 0.95, 95)],
)
def test_percentile__by_nearest_rank__is_one_of_the_values(
    values: list[int], share: float, expected: int | None
) -> None:
    assert percentile(values, share) == expected


@given(st.lists(st.integers(0, 10**6), min_size=1), st.floats(0.01, 1))
def test_percentile__of_anything__covers_the_share(values: list[int], share: float) -> None:
    found = percentile(sorted(values), share)

    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
