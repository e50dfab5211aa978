from __future__ import annotations

from itertools import product

import pytest

from rollout.rules.definition.feature import WaveState
from rollout.rules.spread.wave import Verb, Waiting, allowance_spent, move, standstill


@pytest.mark.parametrize(("state", "verb"), list(product(WaveState, Verb)))
def test_move__of_every_verb_from_every_state__leads_where_it_may(state: WaveState, verb: Verb) -> None:
    possible = {
        (WaveState.DRAFT, Verb.OPEN): WaveState.OPEN,
        (WaveState.OPEN, Verb.HOLD): WaveState.HELD,
        (WaveState.HELD, Verb.RESUME): WaveState.OPEN,
    }

    assert move(state, verb) is possible.get((state, verb))


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
