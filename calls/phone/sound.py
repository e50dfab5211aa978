"""What a phone says and hears: a steady tone or a WAV file goes out, a WAV file comes in."""

from __future__ import annotations

import array
import asyncio
import fractions
import math
import time
import wave
from pathlib import Path
from typing import Any

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

RATE = 48_000
FRAME_SAMPLES = 960  # 20 ms
AMPLITUDE = 0.3
MOST_SECONDS = 600
MOST_GAP_SAMPLES = 10 * RATE


class BadSound(Exception):
    """A WAV file that can't be read or written; the message says which."""


def tone(hertz: int) -> bytes:
    """One second of a sine of `hertz` (a whole number, so that it loops without a click): 48 kHz mono s16."""
    if not 50 <= hertz <= 8_000:
        raise BadSound("A tone lies between 50 and 8,000 Hz.")
    turn = 2 * math.pi * hertz / RATE
    return array.array("h", (round(32767 * AMPLITUDE * math.sin(turn * n)) for n in range(RATE))).tobytes()


def read_wav(path: Path) -> bytes:
    """The sound of an audio file as 48 kHz mono s16, ten minutes at most."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    samples = bytearray()
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(audio=0):
                for part in resampler.resample(frame):
                    samples += bytes(part.planes[0])[: part.samples * 2]
                if len(samples) > MOST_SECONDS * RATE * 2:
                    raise BadSound(f"{path} is longer than ten minutes.")
    except (av.FFmpegError, OSError, IndexError) as error:
        raise BadSound(f"{path} can't be read as sound ({error}).") from error
    if not samples:
        raise BadSound(f"{path} holds no sound.")
    return bytes(samples)


class Source(MediaStreamTrack):  # type: ignore[misc]  # aiortc has no types
    """Plays samples over and over at the pace of real time; silent until `released`, once the call is confirmed."""

    kind = "audio"

    def __init__(self, samples: bytes) -> None:
        super().__init__()
        self.samples = samples
        self.released = False
        self._at = 0
        self._sent = 0
        self._began: float | None = None

    async def recv(self) -> Any:
        if self.readyState != "live":
            raise MediaStreamError
        if self._began is None:
            self._began = time.monotonic()
        wait = self._began + self._sent / RATE - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        frame = av.AudioFrame(format="s16", layout="mono", samples=FRAME_SAMPLES)
        frame.planes[0].update(self._next() if self.released else bytes(FRAME_SAMPLES * 2))
        frame.pts, frame.sample_rate, frame.time_base = self._sent, RATE, fractions.Fraction(1, RATE)
        self._sent += FRAME_SAMPLES
        return frame

    def _next(self) -> bytes:
        need = FRAME_SAMPLES * 2
        part = bytearray()
        while len(part) < need:
            taken = self.samples[self._at : self._at + need - len(part)]
            part += taken
            self._at = (self._at + len(taken)) % len(self.samples)
        return bytes(part)


class Recorder:
    """Writes what is heard to a WAV file, 48 kHz mono s16, each sample at its time: what got lost is silence.

    Recording begins with `release()`, after both ends have confirmed the call; sound before that is dropped.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.released = False
        self.written = 0
        self.heard = 0
        self._first: int | None = None
        self._file: wave.Wave_write | None = None
        if path is not None:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file = wave.open(str(path), "wb")  # noqa: SIM115 - open for as long as the call lasts
            except OSError as error:
                raise BadSound(f"{path} can't be written ({error.strerror}).") from error
            self._file.setnchannels(1)
            self._file.setsampwidth(2)
            self._file.setframerate(RATE)

    async def listen(self, track: Any) -> None:
        """Take in a remote track until it ends."""
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            self.heard += 1
            if not self.released or self._file is None:
                continue
            for part in resampler.resample(frame):
                self._write(frame.pts, bytes(part.planes[0])[: part.samples * 2])

    def _write(self, position: int | None, samples: bytes) -> None:
        if self._file is None:
            return
        if self._first is None:
            self._first = position or 0
        gap = (position or 0) - self._first - self.written
        if 0 < gap <= MOST_GAP_SAMPLES:
            self._file.writeframesraw(bytes(gap * 2))
            self.written += gap
        self._file.writeframesraw(samples)
        self.written += len(samples) // 2

    def close(self) -> None:
        if self._file is not None:
            self._file.close()  # puts the length into the header
            self._file = None
