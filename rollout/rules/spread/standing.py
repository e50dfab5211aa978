"""Where a feature stands, and what a person could do next: in whole sentences, from values alone.

The overview, the feature's page and the REST interface say the same words, because they all come from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import assert_never

from rollout.rules.definition.area import AreaState
from rollout.rules.definition.feature import Access, Switch, WaveState
from rollout.rules.numbers import calls_words, have_words, people_words, span_words
from rollout.rules.spread.window import is_due


class Tone(StrEnum):
    """How a standing looks. Never shown by colour alone: each has a word and a sign too."""

    MOVING = "moving"
    STEADY = "steady"
    WAITING = "waiting"
    HELD = "held"
    STOPPED = "stopped"


TONE_WORDS = {
    Tone.MOVING: "Taking people in",
    Tone.STEADY: "Steady",
    Tone.WAITING: "Waiting",
    Tone.HELD: "Held",
    Tone.STOPPED: "Stopped",
}


@dataclass(frozen=True, slots=True)
class WaveFacts:
    """`standstill` says why the last batch admitted nobody; empty while people come in."""

    name: str
    state: WaveState
    admitted: int
    held_by: str = ""
    standstill: str = ""


@dataclass(frozen=True, slots=True)
class WindowFacts:
    """One open window. `closes_at` is None when it stays open until somebody closes it."""

    name: str
    places: int
    used: int
    pending: int
    test: bool = False
    closes_at: datetime | None = None

    @property
    def left(self) -> int:
        return max(0, self.places - self.used - self.pending)


@dataclass(frozen=True, slots=True)
class FeatureFacts:
    """What is known of a feature at `now`. `people` have it while it is on, None while they aren't counted; `holders`
    have a live grant. `held_areas` are the names of the areas that take nobody in right now.
    """

    switch: Switch
    access: Access
    visible: bool
    people: int | None
    holders: int
    subscribers: int
    running_calls: int
    waves: tuple[WaveFacts, ...] = ()
    windows: tuple[WindowFacts, ...] = ()
    held_areas: tuple[str, ...] = ()
    areas: int = 1


@dataclass(frozen=True, slots=True)
class Standing:
    """`verdict` says how it is, `next` what happens next or what to do, `needs_person` that nothing moves by itself."""

    tone: Tone
    verdict: str
    next: str
    needs_person: bool = False


def feature_standing(facts: FeatureFacts, now: datetime) -> Standing:
    """The standing of one feature. Total: every combination of facts has words."""
    match facts.switch:
        case Switch.KILLED:
            return _killed(facts)
        case Switch.OFF:
            return _off(facts)
        case Switch.ON:
            return _on(facts, now)
        case _:
            assert_never(facts.switch)


def _keep(facts: FeatureFacts) -> str:
    """Who has it again once it is on."""
    if facts.people is None:
        return "who has it is decided as before"
    if facts.people == 0:
        return "it is ready for the first people"
    return f"{have_words(facts.people)} it again, as before"


def _killed(facts: FeatureFacts) -> Standing:
    running = f" {calls_words(facts.running_calls).capitalize()} still running." if facts.running_calls else ""
    return Standing(
        Tone.STOPPED,
        f"Killed: nobody can call.{running}",
        f"Un-kill it when it is safe: {_keep(facts)}.",
        needs_person=True,
    )


def _off(facts: FeatureFacts) -> Standing:
    if facts.running_calls:
        verdict = f"Off: no new calls; {calls_words(facts.running_calls)} may finish."
    else:
        verdict = "Off: nobody can call."
    return Standing(Tone.STOPPED, verdict, f"Switch it on: {_keep(facts)}.")


def _on(facts: FeatureFacts, now: datetime) -> Standing:
    if not facts.visible:
        return Standing(
            Tone.WAITING,
            "On, but phones don't see it yet.",
            "Make it visible to phones when you are ready to announce it; until then no phone can use it.",
            needs_person=True,
        )
    counted = f" {have_words(facts.people)} it." if facts.people is not None else ""
    match facts.access:
        case Access.EVERYONE:
            verdict = f"Launched: everybody eligible has it, and no grant is needed any more.{counted}"
            return _in_vain(facts) or Standing(
                Tone.STEADY, verdict, "Nothing is left to do. Switch it off or kill it if calls go wrong."
            )
        case Access.RULES:
            verdict = f"On: the rules decide who has it.{counted}"
            return _in_vain(facts) or Standing(
                Tone.STEADY, verdict, "Change the rules to change who has it, or launch it."
            )
        case Access.GRANTED:
            return _granted(facts, now)
        case _:
            assert_never(facts.access)


def grants_ignored(name: str, access: Access) -> str:
    """Why a grant gives nobody the feature; empty where it does."""
    match access:
        case Access.GRANTED:
            return ""
        case Access.RULES:
            return f"{name} is decided by its rules, so grants change nothing until access is “granted”."
        case Access.EVERYONE:
            return f"{name} is launched, so grants change nothing until access is “granted” again."
        case _:
            assert_never(access)


def rules_ignored(rules: int, access: Access) -> str:
    """That rules which somebody wrote decide nothing; empty where they do, or where there are none."""
    if not rules or access is Access.RULES:
        return ""
    count = "1 rule, which decides" if rules == 1 else f"{rules} rules, which decide"
    return f"It has {count} nothing while access is “{access}”: set access to “rules” for that."


def _in_vain(facts: FeatureFacts) -> Standing | None:
    """Something is open that gives nobody the feature."""
    waves = [f"wave “{wave.name}”" for wave in facts.waves if wave.state is WaveState.OPEN]
    opened = [*waves, *(f"window “{window.name}”" for window in facts.windows)]
    if not opened:
        return None
    why = grants_ignored("it", facts.access)
    return Standing(
        Tone.HELD,
        f"The {opened[0]} is open, but {why}",
        "Hold the wave and close the window, or set access to “granted”.",
        needs_person=True,
    )


def _granted(facts: FeatureFacts, now: datetime) -> Standing:
    opened = [wave for wave in facts.waves if wave.state is WaveState.OPEN]
    if facts.holders == 0 and not opened:
        if facts.windows:
            return Standing(
                Tone.WAITING,
                f"The window “{facts.windows[0].name}” is open, but nobody holds the feature, so nobody can invite.",
                "Grant the first people, or start a wave.",
                needs_person=True,
            )
        return Standing(
            Tone.WAITING,
            "On, but nobody holds it yet.",
            "Grant the first people, open a window, or start a wave.",
            needs_person=True,
        )
    if opened:
        return wave_standing(opened[0], capacity=_capacity_note(facts))
    held = [wave for wave in facts.waves if wave.state is WaveState.HELD]
    if facts.windows:
        return window_standing(facts.windows[0], now, capacity=_capacity_note(facts))
    if held:
        return Standing(
            Tone.HELD,
            f"The wave “{held[0].name}” is held{_by(held[0].held_by)}; {_had(facts)} the feature.",
            "Resume the wave when you are ready, or open a window.",
            needs_person=True,
        )
    return _nothing_open(facts)


def _had(facts: FeatureFacts) -> str:
    """Who has it, or, while that isn't counted, who was given it."""
    return have_words(facts.holders if facts.people is None else facts.people)


def _by(words: str) -> str:
    return f" ({words.rstrip('.')})" if words else ""


def _capacity_note(facts: FeatureFacts) -> str:
    """Which areas stand still; empty when all take people in."""
    if not facts.held_areas:
        return ""
    if len(facts.held_areas) >= facts.areas:
        return "capacity holds every area"
    return f"capacity holds {', '.join(facts.held_areas[:3])}{' and others' if len(facts.held_areas) > 3 else ''}"


def wave_standing(wave: WaveFacts, ignored: str = "", capacity: str = "") -> Standing:
    """How one wave stands. `ignored` says why its grants give nobody the feature, `capacity` which areas are held."""
    came = f"{people_words(wave.admitted)} came in so far"
    name = f"The wave “{wave.name}”"
    match wave.state:
        case WaveState.DRAFT:
            return Standing(
                Tone.WAITING,
                f"{name} is a draft: nobody comes in before it is opened.",
                "Look over its audience and share, then open it.",
            )
        case WaveState.HELD:
            return Standing(
                Tone.HELD, f"{name} is held{_by(wave.held_by)}; {came}.", "Resume it when you are ready.", True
            )
        case WaveState.DONE:
            after = ignored or "Whoever has the feature keeps it."
            return Standing(Tone.STEADY, f"{name} is done: everybody in it was given the feature.", after)
        case WaveState.OPEN:
            still = ignored or wave.standstill
            if still:
                what = "Hold it, or set access to “granted”" if ignored else "It goes on by itself when there is room"
                verdict = f"{name} is open, but takes nobody in: {still.rstrip('.')}."
                return Standing(Tone.HELD, verdict, f"{what}; {came}.", needs_person=bool(ignored))
            return Standing(
                Tone.HELD if capacity else Tone.MOVING,
                f"{name} is open: {came}{'; ' + capacity if capacity else ''}.",
                "It takes in the rest as capacity allows, and is done when everybody in it has the feature.",
            )
        case _:
            assert_never(wave.state)


def window_standing(window: WindowFacts, now: datetime, *, ignored: str = "", capacity: str = "") -> Standing:
    """How an open window stands; `ignored` and `capacity` as for a wave."""
    name = f"{'test ' if window.test else ''}window “{window.name}”"
    if window.left == 0:
        waiting = f"; {window.pending:,} ring right now" if window.pending else ""
        return Standing(
            Tone.WAITING,
            f"The {name} is open, but all {window.places:,} places are taken{waiting}.",
            "Close it and read its report, or open another window.",
            needs_person=not window.pending,
        )
    if ignored:
        words = f"The {name} is open, but takes nobody in: {ignored}"
        return Standing(Tone.HELD, words, "Close it, or set access to “granted”.", needs_person=True)
    verdict = (
        f"The {name} is open: {window.used:,} of {window.places:,} places used. "
        "Those who have the feature bring in others by calling them"
    )
    verdict += f"; {capacity}, so nobody new comes in there." if capacity else "."
    if window.closes_at is None:
        after = "It stays open until somebody closes it or its places are used."
    elif is_due(window.closes_at, now):
        after = "Its time is over: it closes at any moment."
    else:
        after = f"It closes by itself in {span_words((window.closes_at - now).total_seconds())}."
    return Standing(Tone.HELD if capacity else Tone.MOVING, verdict, after)


def _nothing_open(facts: FeatureFacts) -> Standing:
    having = facts.holders if facts.people is None else facts.people
    verdict = f"On for {people_words(having)}; nobody new comes in."
    if having < facts.holders:
        verdict += f" {have_words(facts.holders)} a grant: not every phone meets what the feature asks for."
    drafts = [wave for wave in facts.waves if wave.state is WaveState.DRAFT]
    if drafts:
        return Standing(Tone.STEADY, verdict, f"The next step of the plan is the wave “{drafts[0].name}”: open it.")
    if facts.subscribers and facts.holders >= facts.subscribers:
        return Standing(Tone.STEADY, verdict, "Everybody who registered has it: launch it for those still to come.")
    return Standing(Tone.STEADY, verdict, "Open a window or start a wave to go on, or launch it for everybody.")


@dataclass(frozen=True, slots=True)
class AreaFacts:
    """The state of an area's capacity. `decided_at` is its last tick, None before the first one."""

    name: str
    state: AreaState
    reason: str
    would_change: str
    tick_seconds: float
    decided_at: datetime | None


def area_standing(facts: AreaFacts, now: datetime) -> Standing:
    """The standing of one area. An area that nobody has looked at for three ticks and 10 s needs a person."""
    if facts.decided_at is None:
        return Standing(
            Tone.WAITING,
            "No measurement has arrived yet, so nobody new comes in.",
            "The worker measures within a tick. If this stays, see whether worker and beat run: manage.py doctor.",
            needs_person=False,
        )
    silent = (now - facts.decided_at).total_seconds()
    if silent > 3 * facts.tick_seconds + 10:
        return Standing(
            Tone.HELD,
            f"Nobody has measured {facts.name} for {span_words(silent)}, so nobody new comes in.",
            "See whether the worker and beat run: manage.py doctor.",
            needs_person=True,
        )
    if facts.state is AreaState.RAMP:
        return Standing(Tone.MOVING, facts.reason, facts.would_change)
    return Standing(Tone.HELD, facts.reason, facts.would_change, needs_person=facts.state is AreaState.UNKNOWN)
