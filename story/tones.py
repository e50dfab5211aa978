"""Whether a recording holds a tone: the Goertzel algorithm over a WAV file, half a second at a time."""

from __future__ import annotations

import array
import math
import random
import wave
from pathlib import Path

# Far enough apart that half a second tells them apart, and inside what a telephone codec keeps.
CHOICES = tuple(range(400, 2000, 100))


def draw(seed: int | None = None) -> tuple[int, int]:
    """Two different tones in Hz, never one an octave or more above the other's harmonics."""
    drawn = random.Random(seed)
    while True:
        first, second = drawn.sample(CHOICES, 2)
        if max(first, second) % min(first, second) and abs(first - second) >= 200:
            return first, second


def power(samples: array.array[int], rate: int, hertz: float) -> float:
    """The mean power of one frequency, in the unit of squared samples (Goertzel 1958)."""
    turn = 2 * math.cos(2 * math.pi * hertz / rate)
    before, last = 0.0, 0.0
    for sample in samples:
        before, last = last, sample + turn * last - before
    total = before * before + last * last - turn * before * last
    return 2 * total / len(samples) ** 2


def seconds_of_tone(path: Path, hertz: int) -> float:
    """How long the recording is mainly this tone: blocks of 0.5 s in which it carries over half of the power."""
    with wave.open(str(path)) as file:
        rate, channels = file.getframerate(), file.getnchannels()
        samples = array.array("h", file.readframes(file.getnframes()))[::channels]
    block, heard = rate // 2, 0.0
    for start in range(0, len(samples) - block + 1, block):
        part = samples[start : start + block]
        mean = sum(part) / block
        total = sum((sample - mean) ** 2 for sample in part) / block
        if total > 100 and power(part, rate, hertz) > 0.5 * total:
            heard += 0.5
    return heard
