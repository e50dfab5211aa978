"""Waves: which verb is possible when, and why one stands still."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from rollout.rules.definition.feature import WaveState
from rollout.rules.numbers import people_words


class Verb(StrEnum):
    OPEN = "open"
    HOLD = "hold"
    RESUME = "resume"


LEADS_TO: Mapping[Verb, tuple[WaveState, WaveState]] = {
    Verb.OPEN: (WaveState.DRAFT, WaveState.OPEN),
    Verb.HOLD: (WaveState.OPEN, WaveState.HELD),
    Verb.RESUME: (WaveState.HELD, WaveState.OPEN),
}


def move(state: WaveState, verb: Verb) -> WaveState | None:
    """The state that the verb leads to, or None when it can't be done from here."""
    start, end = LEADS_TO[verb]
    return end if state is start else None


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many people of one area wait, and why the area takes none in. `area` is empty where no area covers them."""

    area: str
    people: int
    reason: str


def standstill(waiting: Iterable[Waiting]) -> str:
    """Why people still wait, in whole sentences; empty when nobody does."""
    sentences = [each.reason for each in waiting if each.area and each.people]
    nowhere = sum(each.people for each in waiting if not each.area)
    if nowhere:
        people = "1 person lives" if nowhere == 1 else f"{nowhere:,} people live"
        sentences.append(f"{people} where no area is set up: add an area that covers them.")
    return " ".join(sentences)


def allowance_spent(area: str, portion: int, tick_seconds: float) -> str:
    """The reason while an area takes people in, but this tick's portion is used up."""
    return f"{area} takes in {people_words(portion)} every {tick_seconds:g} s, and this portion is used up."
