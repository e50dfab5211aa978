"""The words of the console: every state of a feature has a verdict and a next step."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from rollout.rules.definition.area import AreaState
from rollout.rules.definition.feature import Access, Switch, WaveState
from rollout.rules.numbers import per_cent_words, share_words, span_words
from rollout.rules.spread.standing import (
    AreaFacts,
    FeatureFacts,
    Tone,
    WaveFacts,
    WindowFacts,
    area_standing,
    feature_standing,
    grants_ignored,
    wave_standing,
)

NOW = datetime(2015, 3, 14, 12, 0, tzinfo=UTC)
PLAIN = FeatureFacts(
    switch=Switch.ON, access=Access.GRANTED, visible=True, people=3, holders=3, subscribers=10, running_calls=0
)
WINDOW = WindowFacts(name="Saturday test", places=10, used=4, pending=1, test=True)
WAVE = WaveFacts(name="Android", state=WaveState.OPEN, admitted=120)

CASES = [
    ("killed", {"switch": Switch.KILLED}, Tone.STOPPED, "Killed: nobody can call.", "3 people have it again", True),
    (
        "killed with calls",
        {"switch": Switch.KILLED, "running_calls": 2},
        Tone.STOPPED,
        "2 calls still running.",
        "Un-kill",
        True,
    ),
    ("off", {"switch": Switch.OFF}, Tone.STOPPED, "Off: nobody can call.", "Switch it on", False),
    ("off, one", {"switch": Switch.OFF, "people": 1}, Tone.STOPPED, "Off", "1 person has it again", False),
    (
        "off with calls",
        {"switch": Switch.OFF, "running_calls": 1},
        Tone.STOPPED,
        "no new calls; 1 call may finish",
        "Switch",
        False,
    ),
    (
        "off, launched",
        {"switch": Switch.OFF, "access": Access.EVERYONE},
        Tone.STOPPED,
        "Off",
        "3 people have it",
        False,
    ),
    ("invisible", {"visible": False}, Tone.WAITING, "phones don't see it", "Make it visible", True),
    ("launched", {"access": Access.EVERYONE}, Tone.STEADY, "Launched", "Nothing is left to do", False),
    ("launched, counted", {"access": Access.EVERYONE}, Tone.STEADY, "3 people have it.", "Nothing is left", False),
    ("not counted", {"access": Access.RULES, "people": None}, Tone.STEADY, "decide who has it.", "Change", False),
    ("off, not counted", {"switch": Switch.OFF, "people": None}, Tone.STOPPED, "Off", "decided as before", False),
    (
        "rules, a wave in vain",
        {"access": Access.RULES, "waves": (WAVE,)},
        Tone.HELD,
        "“Android” is open, but it is decided by its rules, so grants change nothing",
        "set access to “granted”",
        True,
    ),
    (
        "launched, a window in vain",
        {"access": Access.EVERYONE, "windows": (WINDOW,)},
        Tone.HELD,
        "“Saturday test” is open, but it is launched",
        "close the window",
        True,
    ),
    (
        "phones that can't",
        {"people": 2, "holders": 3},
        Tone.STEADY,
        "On for 2 people; nobody new comes in. 3 people have a grant: not every phone meets",
        "Open a window",
        False,
    ),
    ("rules", {"access": Access.RULES}, Tone.STEADY, "the rules decide", "Change the rules", False),
    (
        "nobody yet",
        {"people": 0, "holders": 0},
        Tone.WAITING,
        "On, but nobody holds it yet.",
        "Grant the first people, open a window, or start a wave.",
        True,
    ),
    (
        "a window without inviters",
        {"people": 0, "holders": 0, "windows": (WINDOW,)},
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
    (
        "wave, first people",
        {"people": 0, "holders": 0, "waves": (WAVE,)},
        Tone.MOVING,
        "is open",
        "as capacity allows",
        False,
    ),
    (
        "wave still",
        {"waves": (replace(WAVE, standstill="DE is held at 85 %."),)},
        Tone.HELD,
        "takes nobody in: DE is held at 85 %.",
        "goes on by itself",
        False,
    ),
    (
        "wave held",
        {"waves": (replace(WAVE, state=WaveState.HELD, held_by="operator ann: checking quality"),)},
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
        {"waves": (replace(WAVE, state=WaveState.DRAFT),)},
        Tone.STEADY,
        "On for 3",
        "“Android”: open",
        False,
    ),
    ("nothing open", {}, Tone.STEADY, "On for 3 people; nobody new comes in.", "Open a window or start a wave", False),
    (
        "all have it",
        {"people": 10, "holders": 10},
        Tone.STEADY,
        "On for 10 people",
        "launch it for those still to come",
        False,
    ),
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
    waves = [(), *[(replace(WAVE, state=state),) for state in WaveState]]
    for switch, access, visible, people, window, wave, held in product(
        Switch, Access, [True, False], [None, 0, 1, 2], windows, waves, [(), ("DE",), ("A", "B", "C", "D")]
    ):
        facts = FeatureFacts(switch, access, visible, people, people or 0, 2, people or 0, wave, window, held, areas=4)

        standing = feature_standing(facts, NOW)

        for sentence in (standing.verdict, standing.next):
            assert sentence.endswith(".")
            assert sentence[0].isupper()
            assert ".." not in sentence


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0 %"),
        (0.001, "0.1 %"),
        (9.96, "10.0 %"),
        (50.4, "50 %"),
        (99.588, "99.6 %"),
        (99.99, "99.9 %"),
        (100, "100 %"),
    ],
)
def test_per_cent__of_nearly_all_or_nobody__is_not_said_of_all_or_nobody(value, words):
    assert per_cent_words(value) == words


@pytest.mark.parametrize("state", WaveState)
def test_wave_standing__where_grants_are_ignored__never_says_that_people_have_it(state):
    wave = replace(WAVE, state=state)

    plain, ignored = wave_standing(wave), wave_standing(wave, grants_ignored("Video", Access.RULES))

    assert plain.verdict.startswith("The wave “Android” is")
    told = f"{ignored.verdict} {ignored.next}"
    assert ("Video is decided by its rules" in told) is (state in (WaveState.OPEN, WaveState.DONE))
    assert "has the feature" not in told


AREA = AreaFacts(
    name="DE",
    state=AreaState.RAMP,
    reason="Load is at 40 % of 20 calls.",
    would_change="Holds above 80 %.",
    tick_seconds=15,
    decided_at=NOW - timedelta(seconds=10),
)


@pytest.mark.parametrize(
    ("change", "tone", "verdict", "needs"),
    [
        ({}, Tone.MOVING, "Load is at 40 %", False),
        ({"state": AreaState.HOLD, "reason": "Held at 85 %."}, Tone.HELD, "Held at 85 %.", False),
        ({"state": AreaState.UNKNOWN, "reason": "No fresh sample."}, Tone.HELD, "No fresh sample.", True),
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


@pytest.mark.parametrize(
    ("ppm", "words"), [(1_000_000, "100 %"), (250_000, "25 %"), (5_000, "0.5 %"), (1, "0.0001 %"), (0, "0 %")]
)
def test_share__parts_per_million__are_per_cent(ppm, words):
    assert share_words(ppm) == words
