"""Waves: which verb is possible when, who belongs to one, and why one stands still."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from rollout.rules.definition.bucket import bucket
from rollout.rules.definition.clause import Test
from rollout.rules.definition.feature import WaveState
from rollout.rules.definition.requirements import Requirements, unmet
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
class Member:
    """One subscriber as a wave sees them: their own traits, and those of each of their live devices."""

    id: str
    traits: Mapping[str, Any]
    devices: Sequence[Mapping[str, Any]]


def belongs(
    member: Member, test: Test, *, salt: str, share_ppm: int, requirements: Requirements, now: datetime
) -> bool:
    """Whether the wave is for this person: the bucket is below the share, and the audience matches.

    With several devices, one that meets the audience and the feature's requirements is enough. Somebody without any
    device yet is judged by their own traits alone: the decision looks at the device once there is one.
    """
    if bucket(salt, member.id) >= share_ppm:
        return False
    if not member.devices:
        return test(member.traits, now) is True
    return any(
        test({**member.traits, **device}, now) is True and unmet(requirements, {**member.traits, **device}) is None
        for device in member.devices
    )


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
