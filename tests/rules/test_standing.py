"""The words of the console: every state of a feature has a verdict and a next step."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from rollout.rules.standing import (
    AreaFacts,
    FeatureFacts,
    Opened,
    Switched,
    Tone,
    WaveFacts,
    WaveStanding,
    WindowFacts,
    area_standing,
    feature_standing,
    share_words,
    span_words,
)

NOW = datetime(2015, 3, 14, 12, 0, tzinfo=UTC)
PLAIN = FeatureFacts(switch=Switched.ON, access=Opened.GRANTED, visible=True, people=3, subscribers=10, running_calls=0)
WINDOW = WindowFacts(name="Saturday test", places=10, used=4, pending=1, test=True)
WAVE = WaveFacts(name="Android", state=WaveStanding.OPEN, admitted=120)

CASES = [
    ("killed", {"switch": Switched.KILLED}, Tone.STOPPED, "Killed: nobody can call.", "3 people have it again", True),
    (
        "killed with calls",
        {"switch": Switched.KILLED, "running_calls": 2},
        Tone.STOPPED,
        "2 calls still running.",
        "Un-kill",
        True,
    ),
    ("off", {"switch": Switched.OFF}, Tone.STOPPED, "Off: nobody can call.", "Switch it on", False),
    ("off, one", {"switch": Switched.OFF, "people": 1}, Tone.STOPPED, "Off", "1 person has it again", False),
    (
        "off with calls",
        {"switch": Switched.OFF, "running_calls": 1},
        Tone.STOPPED,
        "no new calls; 1 call may finish",
        "Switch",
        False,
    ),
    ("off, launched", {"switch": Switched.OFF, "access": Opened.EVERYONE}, Tone.STOPPED, "Off", "everybody", False),
    ("invisible", {"visible": False}, Tone.WAITING, "phones don't see it", "Make it visible", True),
    ("launched", {"access": Opened.EVERYONE}, Tone.STEADY, "Launched", "Nothing is left to do", False),
    ("rules", {"access": Opened.RULES}, Tone.STEADY, "the rules decide", "Change the rules", False),
    (
        "nobody yet",
        {"people": 0},
        Tone.WAITING,
        "On, but nobody holds it yet.",
        "Grant the first people, open a window, or start a wave.",
        True,
    ),
    (
        "a window without inviters",
        {"people": 0, "windows": (WINDOW,)},
        Tone.WAITING,
        "nobody holds the feature, so nobody can invite",
        "Grant the first people",
        True,
    ),
    ("window", {"windows": (WINDOW,)}, Tone.MOVING, "4 of 10 places used", "stays open", False),
    (
        "window closes",
        {"windows": (replace(WINDOW, closes_at=NOW + timedelta(minutes=20)),)},
        Tone.MOVING,
        "test window “Saturday test” is open",
        "closes by itself in 20 min",
        False,
    ),
    (
        "window late",
        {"windows": (replace(WINDOW, closes_at=NOW - timedelta(seconds=1)),)},
        Tone.MOVING,
        "is open",
        "Its time is over",
        False,
    ),
    (
        "window full",
        {"windows": (replace(WINDOW, used=10, pending=0),)},
        Tone.WAITING,
        "all 10 places",
        "Close it",
        True,
    ),
    (
        "window full, ringing",
        {"windows": (replace(WINDOW, used=9, pending=1),)},
        Tone.WAITING,
        "1 ring right now",
        "Close it",
        False,
    ),
    (
        "window held",
        {"windows": (WINDOW,), "held_areas": ("DE",), "areas": 2},
        Tone.HELD,
        "capacity holds DE, so nobody new comes in there",
        "stays open",
        False,
    ),
    ("wave", {"waves": (WAVE,)}, Tone.MOVING, "120 people came in so far", "as capacity allows", False),
    ("wave, first people", {"people": 0, "waves": (WAVE,)}, Tone.MOVING, "is open", "as capacity allows", False),
    (
        "wave still",
        {"waves": (replace(WAVE, standstill="DE is held at 85 %."),)},
        Tone.HELD,
        "stands still: DE is held at 85 %.",
        "goes on by itself",
        False,
    ),
    (
        "wave held",
        {"waves": (replace(WAVE, state=WaveStanding.HELD, held_by="operator ann: checking quality"),)},
        Tone.HELD,
        "is held (operator ann: checking quality)",
        "Resume",
        True,
    ),
    (
        "wave, everywhere held",
        {"waves": (WAVE,), "held_areas": ("DE",), "areas": 1},
        Tone.HELD,
        "capacity holds every area",
        "as capacity allows",
        False,
    ),
    (
        "draft wave",
        {"waves": (replace(WAVE, state=WaveStanding.DRAFT),)},
        Tone.STEADY,
        "On for 3",
        "“Android”: open",
        False,
    ),
    ("nothing open", {}, Tone.STEADY, "On for 3 people; nobody new comes in.", "Open a window or start a wave", False),
    ("all have it", {"people": 10}, Tone.STEADY, "On for 10 people", "launch it for those still to come", False),
]


@pytest.mark.parametrize(
    ("name", "change", "tone", "verdict", "after", "needs"), CASES, ids=[case[0] for case in CASES]
)
def test_feature_standing__each_state__has_its_words(name, change, tone, verdict, after, needs):
    standing = feature_standing(replace(PLAIN, **change), NOW)

    assert standing.tone is tone
    assert verdict in standing.verdict
    assert after in standing.next
    assert standing.needs_person is needs


def test_feature_standing__any_combination__is_two_whole_sentences():
    windows = [(), (WINDOW,), (replace(WINDOW, used=10, pending=0),)]
    waves = [(), *[(replace(WAVE, state=state),) for state in WaveStanding]]
    for switch, access, visible, people, window, wave, held in product(
        Switched, Opened, [True, False], [0, 1, 2], windows, waves, [(), ("DE",), ("A", "B", "C", "D")]
    ):
        facts = FeatureFacts(switch, access, visible, people, 2, people, wave, window, held, areas=4)

        standing = feature_standing(facts, NOW)

        for sentence in (standing.verdict, standing.next):
            assert sentence.endswith(".")
            assert sentence[0].isupper()
            assert ".." not in sentence


AREA = AreaFacts(
    name="DE",
    state="ramp",
    reason="Load is at 40 % of 20 calls.",
    would_change="Holds above 80 %.",
    tick_seconds=15,
    decided_at=NOW - timedelta(seconds=10),
)


@pytest.mark.parametrize(
    ("change", "tone", "verdict", "needs"),
    [
        ({}, Tone.MOVING, "Load is at 40 %", False),
        ({"state": "hold", "reason": "Held at 85 %."}, Tone.HELD, "Held at 85 %.", False),
        ({"state": "unknown", "reason": "No fresh sample."}, Tone.HELD, "No fresh sample.", True),
        ({"decided_at": None}, Tone.WAITING, "No measurement has arrived yet", False),
        ({"decided_at": NOW - timedelta(seconds=54)}, Tone.MOVING, "Load", False),
        ({"decided_at": NOW - timedelta(seconds=56)}, Tone.HELD, "Nobody has measured DE for 56 s", True),
    ],
)
def test_area_standing__each_state__has_its_words(change, tone, verdict, needs):
    standing = area_standing(replace(AREA, **change), NOW)

    assert (standing.tone, standing.needs_person) == (tone, needs)
    assert verdict in standing.verdict


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (-8, "8 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (7200, "2 h"), (200_000, "2 days")],
)
def test_span__each_length__is_in_its_unit(seconds, words):
    assert span_words(seconds) == words


@pytest.mark.parametrize(("ppm", "words"), [(1_000_000, "100 %"), (250_000, "25 %"), (5_000, "0.5 %"), (1, "0.0001 %")])
def test_share__parts_per_million__are_per_cent(ppm, words):
    assert share_words(ppm) == words
