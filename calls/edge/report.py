"""What each edge tells about its load: to Redis for the capacity controller, and to `/metrics`."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from rollout.serving.ruleset import Rulesets

from .arbiter import Arbiter
from .inbox import Inboxes
from .store import Store, StoreAway

STALE_MS = 600_000


class Report:
    def __init__(self, store: Store, arbiter: Arbiter, inboxes: Inboxes, rulesets: Rulesets, every: float) -> None:
        self.store = store
        self.arbiter = arbiter
        self.inboxes = inboxes
        self.rulesets = rulesets
        self.every = every

    def now(self) -> dict[str, Any]:
        """This edge's load by area; an area without a call stands there with zero: we looked, and there was none."""
        at = self.arbiter.clock()
        concurrent = self.arbiter.concurrent(at)
        attempts, setups = self.arbiter.attempts, self.arbiter.setups
        areas = {area.key for area in self.rulesets.current.areas} | {*concurrent, *attempts, *setups}
        return {
            "at": at,
            "sockets": len(self.inboxes.sessions),
            "areas": {
                area: {
                    "concurrent": concurrent.get(area, 0),
                    "attempts": attempts.get(area, 0),
                    "setups": setups.get(area, 0),
                }
                for area in sorted(areas)
            },
        }

    async def run(self) -> None:
        """Report until cancelled; a silent Redis hears the next one."""
        while True:
            try:
                await self.store.report(self.now(), STALE_MS)
            except StoreAway:
                pass
            await asyncio.sleep(self.every)


async def watch_lag(arbiter: Arbiter) -> None:
    """Measure how late the event loop wakes up."""
    while True:
        before = time.monotonic()
        await asyncio.sleep(0.5)
        arbiter.metrics.lag.set(max(0.0, time.monotonic() - before - 0.5))
