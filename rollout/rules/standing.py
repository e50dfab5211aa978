"""Where a feature stands, and what a person could do next: in whole sentences, from values alone.

The overview, the feature's page and the REST interface say the same words, because they all come from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import assert_never


class Switched(StrEnum):
    OFF = "off"
    ON = "on"
    KILLED = "killed"


class Opened(StrEnum):
    """How people come to have a feature (a feature's `access`)."""

    GRANTED = "granted"
    RULES = "rules"
    EVERYONE = "everyone"


class Tone(StrEnum):
    """How a standing looks. Never shown by colour alone: each has a word and a sign too."""

    MOVING = "moving"
    STEADY = "steady"
    WAITING = "waiting"
    HELD = "held"
    STOPPED = "stopped"


class WaveStanding(StrEnum):
    DRAFT = "draft"
    OPEN = "open"
    HELD = "held"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class WaveFacts:
    """`standstill` says why the last batch admitted nobody; empty while people come in."""

    name: str
    state: WaveStanding
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
    """What is known of a feature at `now`. `held_areas` are the names of the areas that take nobody in right now."""

    switch: Switched
    access: Opened
    visible: bool
    people: int
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


def people_words(count: int) -> str:
    """`1 person`, `1,204 people`."""
    return "1 person" if count == 1 else f"{count:,} people"


def calls_words(count: int) -> str:
    """`no call`, `1 call`, `17 calls`."""
    return "no call" if count == 0 else "1 call" if count == 1 else f"{count:,} calls"


def span_words(seconds: float) -> str:
    """A length of time in its largest fitting unit: `8 s`, `12 min`, `3 h`, `2 days`."""
    seconds = abs(seconds)
    if seconds < 90:
        return f"{round(seconds)} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    if seconds < 36 * 3600:
        return f"{round(seconds / 3600)} h"
    return f"{round(seconds / 86400)} days"


def share_words(share_ppm: int) -> str:
    """A share in per cent, as exact as it needs to be: `25 %`, `0.5 %`, `0.0001 %`."""
    return f"{share_ppm / 10_000:.4f}".rstrip("0").rstrip(".") + " %"


def feature_standing(facts: FeatureFacts, now: datetime) -> Standing:
    """The standing of one feature. Total: every combination of facts has words."""
    match facts.switch:
        case Switched.KILLED:
            return _killed(facts)
        case Switched.OFF:
            return _off(facts)
        case Switched.ON:
            return _on(facts, now)
        case _:
            assert_never(facts.switch)


def _keep(facts: FeatureFacts) -> str:
    """Who has it again once it is on."""
    if facts.access is Opened.EVERYONE:
        return "everybody eligible has it again"
    if facts.access is Opened.RULES:
        return "the rules decide again who has it"
    if facts.people == 0:
        return "it is ready for the first people"
    return f"{people_words(facts.people)} {'has' if facts.people == 1 else 'have'} it again, as before"


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
    match facts.access:
        case Opened.EVERYONE:
            return Standing(
                Tone.STEADY,
                "Launched: everybody eligible has it, and no grant is needed any more.",
                "Nothing is left to do. Switch it off or kill it if calls go wrong.",
            )
        case Opened.RULES:
            return Standing(
                Tone.STEADY, "On: the rules decide who has it.", "Change the rules to change who has it, or launch it."
            )
        case Opened.GRANTED:
            return _granted(facts, now)
        case _:
            assert_never(facts.access)


def _granted(facts: FeatureFacts, now: datetime) -> Standing:
    opened = [wave for wave in facts.waves if wave.state is WaveStanding.OPEN]
    if facts.people == 0 and not opened:
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
        return _wave_runs(opened[0], facts)
    held = [wave for wave in facts.waves if wave.state is WaveStanding.HELD]
    if facts.windows:
        return _window_runs(facts.windows[0], facts, now)
    if held:
        return Standing(
            Tone.HELD,
            f"The wave “{held[0].name}” is held{_by(held[0].held_by)}; {people_words(facts.people)} "
            f"{'has' if facts.people == 1 else 'have'} the feature.",
            "Resume the wave when you are ready, or open a window.",
            needs_person=True,
        )
    return _nothing_open(facts)


def _by(words: str) -> str:
    return f" ({words.rstrip('.')})" if words else ""


def _capacity_note(facts: FeatureFacts) -> str:
    """Which areas stand still; empty when all take people in."""
    if not facts.held_areas:
        return ""
    if len(facts.held_areas) >= facts.areas:
        return "capacity holds every area"
    return f"capacity holds {', '.join(facts.held_areas[:3])}{' and others' if len(facts.held_areas) > 3 else ''}"


def _wave_runs(wave: WaveFacts, facts: FeatureFacts) -> Standing:
    if wave.standstill:
        return Standing(
            Tone.HELD,
            f"The wave “{wave.name}” is open, but stands still: {wave.standstill.rstrip('.')}.",
            f"It goes on by itself when there is room; {people_words(wave.admitted)} came in so far.",
        )
    note = _capacity_note(facts)
    return Standing(
        Tone.HELD if note else Tone.MOVING,
        f"The wave “{wave.name}” is open: {people_words(wave.admitted)} came in so far{'; ' + note if note else ''}.",
        "It takes in the rest as capacity allows, and is done when everybody in it has the feature.",
    )


def _window_runs(window: WindowFacts, facts: FeatureFacts, now: datetime) -> Standing:
    name = f"{'test ' if window.test else ''}window “{window.name}”"
    if window.left == 0:
        waiting = f"; {window.pending:,} ring right now" if window.pending else ""
        return Standing(
            Tone.WAITING,
            f"The {name} is open, but all {window.places:,} places are taken{waiting}.",
            "Close it and read its report, or open another window.",
            needs_person=not window.pending,
        )
    note = _capacity_note(facts)
    verdict = (
        f"The {name} is open: {window.used:,} of {window.places:,} places used. "
        "Those who have the feature bring in others by calling them"
    )
    verdict += f"; {note}, so nobody new comes in there." if note else "."
    if window.closes_at is None:
        after = "It stays open until somebody closes it or its places are used."
    elif window.closes_at <= now:
        after = "Its time is over: it closes at any moment."
    else:
        after = f"It closes by itself in {span_words((window.closes_at - now).total_seconds())}."
    return Standing(Tone.HELD if note else Tone.MOVING, verdict, after)


def _nothing_open(facts: FeatureFacts) -> Standing:
    verdict = f"On for {people_words(facts.people)}; nobody new comes in."
    drafts = [wave for wave in facts.waves if wave.state is WaveStanding.DRAFT]
    if drafts:
        return Standing(Tone.STEADY, verdict, f"The next step of the plan is the wave “{drafts[0].name}”: open it.")
    if facts.subscribers and facts.people >= facts.subscribers:
        return Standing(Tone.STEADY, verdict, "Everybody who registered has it: launch it for those still to come.")
    return Standing(Tone.STEADY, verdict, "Open a window or start a wave to go on, or launch it for everybody.")


@dataclass(frozen=True, slots=True)
class AreaFacts:
    """The state of an area's capacity. `decided_at` is its last tick, None before the first one."""

    name: str
    state: str
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
    if facts.state == "ramp":
        return Standing(Tone.MOVING, facts.reason, facts.would_change)
    return Standing(Tone.HELD, facts.reason, facts.would_change, needs_person=facts.state == "unknown")
