"""Lines for whoever watches: what happens, and, where that takes long, every few seconds what is awaited."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST_SILENCE = 4.0  # seconds
SOMETHING = "the next step"


class Progress:
    """One for the whole story. Says nothing until it is started, so that `--json` stays alone on stdout."""

    def __init__(self, longest_silence: float = LONGEST_SILENCE) -> None:
        self._longest = longest_silence
        self._awaited: list[tuple[str, float]] = []
        self._spoke = time.monotonic()
        self._speaks = False
        self._ended = threading.Event()

    def start(self) -> None:
        self._speaks = True
        threading.Thread(target=self._keep_saying, name="progress", daemon=True).start()

    def stop(self) -> None:
        """Nothing is said by itself from now on."""
        self._ended.set()

    def say(self, line: str) -> None:
        if self._speaks:
            self._spoke = time.monotonic()
            print(line, flush=True)

    @contextmanager
    def awaiting(self, what: str) -> Iterator[None]:
        """Until the end of the block this is what is awaited, unless something wider already is."""
        self._awaited.append((what, time.monotonic()))
        try:
            yield
        finally:
            self._awaited.pop()

    def _keep_saying(self) -> None:
        while not self._ended.wait(max(0.0, self._spoke + self._longest - time.monotonic())):
            now = time.monotonic()
            if now < self._spoke + self._longest:
                continue
            what, since = next(iter(self._awaited), (SOMETHING, self._spoke))
            self.say(f"     … waiting for {what} ({now - since:.0f} s)")


progress = Progress()
