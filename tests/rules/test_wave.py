from __future__ import annotations

from datetime import UTC, datetime
from itertools import product
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.rules.definition.audience import compile_any_of, parse_any_of
from rollout.rules.definition.feature import WaveState
from rollout.rules.definition.requirements import Requirements, parse_requirements
from rollout.rules.spread.wave import Member, Verb, Waiting, allowance_spent, belongs, move, standstill

NOW = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)
MILLION = 1_000_000
ANYTHING = parse_requirements({}, "requirements")
NEW_ANDROID = parse_requirements({"platforms": {"android": {"app": "2.12.0"}}}, "requirements")
ANDROID = [[{"trait": "platform", "operator": "IN", "values": ["android"]}]]
GERMANY = [[{"trait": "country", "operator": "IN", "values": ["DE"]}]]

OLD = {"platform": "android", "app_version": "2.11.0", "os_version": "4.4", "device_class": "low"}
NEW = {**OLD, "app_version": "2.12.1"}
PHONE = {"platform": "ios", "app_version": "2.12.1", "os_version": "8.0", "device_class": "high"}


def member(*devices: dict[str, str], country: str = "DE") -> Member:
    return Member(str(uuid4()), {"country": country}, devices)


def is_in(one: Member, any_of: list[object], requirements: Requirements = ANYTHING, share_ppm: int = MILLION) -> bool:
    test = compile_any_of(parse_any_of(any_of, "any_of"), {})
    return belongs(one, test, salt="5f2a", share_ppm=share_ppm, requirements=requirements, now=NOW)


@pytest.mark.parametrize(("state", "verb"), list(product(WaveState, Verb)))
def test_move__of_every_verb_from_every_state__leads_where_it_may(state: WaveState, verb: Verb) -> None:
    possible = {
        (WaveState.DRAFT, Verb.OPEN): WaveState.OPEN,
        (WaveState.OPEN, Verb.HOLD): WaveState.HELD,
        (WaveState.HELD, Verb.RESUME): WaveState.OPEN,
    }

    assert move(state, verb) is possible.get((state, verb))


@pytest.mark.parametrize(
    ("one", "any_of", "requirements", "expected"),
    [
        (member(), [], ANYTHING, True),
        (member(), GERMANY, ANYTHING, True),
        (member(country="FR"), GERMANY, ANYTHING, False),
        (member(), ANDROID, ANYTHING, False),  # without a device, nothing is known of its platform
        (member(NEW), ANDROID, ANYTHING, True),
        (member(PHONE), ANDROID, ANYTHING, False),
        (member(PHONE, NEW), ANDROID, ANYTHING, True),
        (member(OLD), [], NEW_ANDROID, False),
        (member(NEW), [], NEW_ANDROID, True),
        (member(OLD, NEW), [], NEW_ANDROID, True),
        (member(OLD, PHONE), ANDROID, NEW_ANDROID, False),  # neither device meets both
        (member(), [], NEW_ANDROID, True),
    ],
)
def test_belongs__audience_and_devices__one_fitting_device_is_enough(
    one: Member, any_of: list[object], requirements: Requirements, expected: bool
) -> None:
    assert is_in(one, any_of, requirements) is expected


@given(st.integers(0, MILLION), st.integers(0, MILLION))
def test_belongs__raising_the_share__removes_nobody(first: int, second: int) -> None:
    low, high = sorted((first, second))
    everybody = [Member(f"01890000-0000-7000-8000-{n:012x}", {}, ()) for n in range(20)]

    assert [one for one in everybody if is_in(one, [], share_ppm=low) and not is_in(one, [], share_ppm=high)] == []


def test_belongs__share_of_none_and_all__is_nobody_and_everybody() -> None:
    assert not is_in(member(), [], share_ppm=0)
    assert is_in(member(), [], share_ppm=MILLION)


def test_standstill__in_one_held_area__says_the_reason_whole() -> None:
    held = Waiting("DE", 200, "DE is held – 17 of 20 calls, 85 %; admission resumes below 64 %.")

    assert standstill([held]) == ("DE is held – 17 of 20 calls, 85 %; admission resumes below 64 %.")


def test_standstill__where_no_area_is__says_what_to_do() -> None:
    assert standstill([Waiting("", 1, "")]) == ("1 person lives where no area is set up: add an area that covers them.")
    assert "2,000 people live where" in standstill([Waiting("", 2000, "")])


def test_standstill__with_nobody_waiting__is_silent() -> None:
    assert standstill([]) == ""


def test_allowance_spent__in_words__names_the_portion() -> None:
    assert allowance_spent("DE", 250, 15) == "DE takes in 250 people every 15 s, and this portion is used up."
