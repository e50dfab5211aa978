"""What time it is for calls: the same on every edge, and steady where a machine's wall clock jumps."""

from __future__ import annotations

import asyncio
import time

from .store import Store, StoreAway

FOLLOW_SECONDS = 1.0
TOLERANCE_MS = 100


class Clock:
    """Milliseconds since 1970 by Redis's clock, carried on by this machine's steady one.

    Deadlines that one edge sets are looked at by another: with clocks of their own, an edge two minutes ahead would
    end everybody's calls. Before Redis has said anything, the wall clock at the start counts.
    """

    def __init__(self) -> None:
        self._began = time.time_ns() // 1_000_000 - _steady()

    def __call__(self) -> int:
        return self._began + _steady()

    def set(self, now_ms: int) -> None:
        """It is `now_ms`; a difference that a slow answer explains changes nothing."""
        if abs(now_ms - self()) > TOLERANCE_MS:
            self._began = now_ms - _steady()

    async def follow(self, store: Store) -> None:
        """Stay with Redis until cancelled."""
        while True:
            try:
                self.set(await store.time())
            except StoreAway:
                pass
            await asyncio.sleep(FOLLOW_SECONDS)


def _steady() -> int:
    return time.monotonic_ns() // 1_000_000
