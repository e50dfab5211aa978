from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.rules.capacity.controller import AreaConfig, EdgeReport, Sample, calls_below, combine, decide, portion
from rollout.rules.definition.area import AreaState

NOW = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)
DE = AreaConfig("DE", 20, 800_000, 640_000, 1000, 15, 45)


def sample(concurrent: int, *, age: float = 1) -> Sample:
    return Sample(NOW - timedelta(seconds=age), concurrent)


@pytest.mark.parametrize(
    ("before", "concurrent", "after"),
    [
        (AreaState.RAMP, 0, AreaState.RAMP),
        (AreaState.RAMP, 15, AreaState.RAMP),
        (AreaState.RAMP, 16, AreaState.RAMP),  # 80 % is not above 80 %
        (AreaState.RAMP, 17, AreaState.HOLD),
        (AreaState.RAMP, 500, AreaState.HOLD),  # a load above the capacity is believed
        (AreaState.HOLD, 16, AreaState.HOLD),
        (AreaState.HOLD, 13, AreaState.HOLD),
        (AreaState.HOLD, 12, AreaState.RAMP),
        (AreaState.UNKNOWN, 0, AreaState.RAMP),
        (AreaState.UNKNOWN, 12, AreaState.RAMP),
        (AreaState.UNKNOWN, 13, AreaState.HOLD),  # it may have been held before, and nobody saw
        (AreaState.UNKNOWN, 17, AreaState.HOLD),
    ],
)
def test_controller__with_a_fresh_sample__holds_between_the_two_marks(
    before: AreaState, concurrent: int, after: AreaState
) -> None:
    assert decide(before, sample(concurrent), DE, NOW).state is after


@pytest.mark.parametrize("before", list(AreaState))
@pytest.mark.parametrize(
    "seen",
    [None, sample(0, age=45.1), sample(0, age=3600), sample(0, age=-31)],
    ids=["no sample ever", "just stale", "an hour old", "from the future"],
)
def test_controller__blind__takes_nobody_in_and_never_reads_zero(before: AreaState, seen: Sample | None) -> None:
    tick = decide(before, seen, DE, NOW)

    assert (tick.state, tick.minted, tick.valid_until) == (AreaState.UNKNOWN, 0, NOW)
    assert tick.reason.startswith("capacity_unknown: DE is held")


def test_controller__at_the_edge_of_staleness__still_believes() -> None:
    assert decide(AreaState.RAMP, sample(3, age=45), DE, NOW).state is AreaState.RAMP


def test_controller__blind__says_since_when_or_why() -> None:
    assert "no edge has reported for 60 s" in decide(AreaState.RAMP, sample(0, age=60), DE, NOW).reason
    assert "no edge has reported yet" in decide(AreaState.RAMP, None, DE, NOW).reason
    assert "can't be reached" in decide(AreaState.RAMP, None, DE, NOW, "the store can't be reached").reason


def test_controller__holding__says_the_numbers_and_what_would_change_it() -> None:
    tick = decide(AreaState.RAMP, sample(17), DE, NOW)

    assert tick.reason == "DE is held – 17 of 20 calls, 85 %; admission resumes below 64 %."
    assert tick.would_change == "Fewer calls: at most 12 at once."


def test_controller__ramping__mints_a_portion_that_two_ticks_outlive() -> None:
    tick = decide(AreaState.HOLD, sample(12), DE, NOW)

    assert (tick.minted, tick.valid_until) == (250, NOW + timedelta(seconds=30))


@pytest.mark.parametrize(
    ("rate", "tick", "minted"), [(1000, 15, 250), (1, 15, 1), (0, 15, 0), (60, 1, 1), (61, 0.5, 1), (600, 0.5, 5)]
)
def test_portion__of_a_tick__keeps_to_the_rate_but_lets_one_in(rate: int, tick: float, minted: int) -> None:
    assert portion(AreaConfig("DE", 20, 800_000, 640_000, rate, tick, 45)) == minted


def test_allowance__with_long_ticks__doesn_t_outlive_staleness() -> None:
    slow = AreaConfig("DE", 20, 800_000, 640_000, 1000, 40, 45)

    assert decide(AreaState.RAMP, sample(0, age=0), slow, NOW).valid_until == NOW + timedelta(seconds=45)


@pytest.mark.parametrize(("age", "valid"), [(0, 30), (2, 30), (15, 30), (16, 29), (40, 5), (44.5, 0.5), (-30, 30)])
def test_allowance__minted_from_an_old_sample__ends_when_the_sample_does(age: float, valid: float) -> None:
    tick = decide(AreaState.RAMP, sample(0, age=age), DE, NOW)

    assert (tick.state, tick.valid_until) == (AreaState.RAMP, NOW + timedelta(seconds=valid))


@given(
    before=st.sampled_from(AreaState),
    concurrent=st.integers(0, 10**6),
    capacity=st.integers(1, 10**6),
    resume=st.integers(0, 999_998),
    over=st.integers(1, 10**6),
    age=st.floats(-100, 1000),
)
def test_controller__whatever_it_sees__mints_only_when_it_ramps(
    before: AreaState, concurrent: int, capacity: int, resume: int, over: int, age: float
) -> None:
    config = AreaConfig("DE", capacity, min(10**6, resume + over), resume, 1000, 15, 45)

    tick = decide(before, sample(concurrent, age=age), config, NOW)

    assert (tick.minted > 0) == (tick.state is AreaState.RAMP)
    assert tick.reason
    assert tick.would_change
    if tick.state is AreaState.RAMP:
        assert concurrent * 10**6 <= config.hold_above_ppm * capacity
        assert -30 <= age <= 45


@given(capacity=st.integers(1, 10**5), ppm=st.integers(0, 10**6))
def test_calls_below__a_share__is_the_last_number_below_it(capacity: int, ppm: int) -> None:
    config = AreaConfig("DE", capacity, 10**6, ppm, 1, 15, 45)
    calls = calls_below(config, ppm)

    assert calls * 10**6 < ppm * capacity or calls == 0
    assert (calls + 1) * 10**6 >= ppm * capacity


def report(edge: str, *, age: float = 1, **counts: int) -> EdgeReport:
    raw: dict[str, Any] = {"at": (NOW - timedelta(seconds=age)).timestamp() * 1000, "areas": {"DE": counts}}
    return EdgeReport.from_json(edge, raw, "DE")


def test_combine__edges_and_the_shared_record__believes_the_higher_count() -> None:
    reports = [report("a", concurrent=3), report("b", concurrent=4, age=5)]

    both = combine(reports, 5, {}, DE, NOW)
    shared = combine(reports, 9, {}, DE, NOW)

    assert both is not None
    assert shared is not None
    assert (both.concurrent, shared.concurrent) == (7, 9)
    assert both.at == NOW - timedelta(seconds=1)


def test_combine__without_a_fresh_report__is_no_load_at_all() -> None:
    assert combine([], 7, {}, DE, NOW) is None
    assert combine([report("a", age=46, concurrent=0)], 7, {}, DE, NOW) is None


def test_combine__silent_edge_beside_a_living_one__is_left_out() -> None:
    load = combine([report("a", age=50, concurrent=9), report("b", concurrent=2)], 0, {}, DE, NOW)

    assert load is not None
    assert (load.concurrent, list(load.edges)) == (2, ["b"])


def test_combine__attempts__are_counted_on_and_survive_a_restart_of_an_edge() -> None:
    before = {"a": {"attempts": 10}, "b": {"attempts": 100}}

    load = combine([report("a", attempts=14), report("b", attempts=3), report("c", attempts=2)], 0, before, DE, NOW)

    assert load is not None
    assert load.attempts == 4 + 3 + 2


@pytest.mark.parametrize("raw", [{}, {"at": 1}, {"at": "x", "areas": {}}, {"at": 1, "areas": {"DE": {"attempts": -1}}}])
def test_report__malformed__is_refused(raw: dict[str, Any]) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        EdgeReport.from_json("a", raw, "DE")
