"""A breaker: whoever gave no answer is left alone for a while, and then asked by one until it answers."""

from __future__ import annotations

import time
from threading import Lock


class Breaker:
    """After `failures` in a row nobody asks for `rest` seconds; then one may try, and the others wait."""

    __slots__ = ("_failed", "_failures", "_lock", "_rest", "_until")

    def __init__(self, *, rest: float, failures: int = 1) -> None:
        self._rest, self._failures = rest, failures
        self._failed, self._until = 0, 0.0
        self._lock = Lock()

    @property
    def available(self) -> bool:
        """Whether the last answers were good: False also while one tries."""
        return self._failed < self._failures

    def allows(self) -> bool:
        """Whether to ask now. Who was let through says afterwards how it went."""
        if self.available:
            return True
        with self._lock:
            now = time.monotonic()
            if now < self._until:
                return False
            self._until = now + self._rest
            return True

    def succeeded(self) -> None:
        self._failed = 0

    def failed(self) -> None:
        self._failed += 1
        self._until = time.monotonic() + self._rest
