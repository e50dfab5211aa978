"""The story's ear: it must tell tones apart, and hear nothing in silence."""

from __future__ import annotations

import array
import math
import random
import wave
from pathlib import Path

import pytest

from story.tones import CHOICES, draw, seconds_of_tone

RATE = 48_000


def record(path: Path, *tones: float, seconds: float = 4, noise: float = 0) -> Path:
    drawn = random.Random(7)
    samples = array.array(
        "h",
        (
            int(sum(6000 * math.sin(2 * math.pi * hertz * n / RATE) for hertz in tones) + noise * drawn.gauss(0, 1))
            for n in range(int(RATE * seconds))
        ),
    )
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    return path


def test_tone__alone__is_heard_for_its_whole_length(tmp_path: Path) -> None:
    path = record(tmp_path / "tone.wav", 700)

    assert seconds_of_tone(path, 700) == 4.0
    assert seconds_of_tone(path, 900) == 0.0


def test_silence_and_noise__hold__no_tone(tmp_path: Path) -> None:
    silence, noise = record(tmp_path / "silence.wav"), record(tmp_path / "noise.wav", noise=3000)

    assert [seconds_of_tone(path, hertz) for path in (silence, noise) for hertz in (500, 1500)] == [0.0] * 4


def test_two_tones_at_once__are_not__one_of_them(tmp_path: Path) -> None:
    path = record(tmp_path / "both.wav", 700, 1100)

    assert seconds_of_tone(path, 700) == 0.0


@pytest.mark.parametrize("seed", range(50))
def test_drawn_tones__any_seed__differ_and_share_no_harmonic(seed: int) -> None:
    first, second = draw(seed)

    assert {first, second} <= set(CHOICES)
    assert abs(first - second) >= 200
    assert max(first, second) % min(first, second) != 0
