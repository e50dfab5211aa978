"""The catalogue of the edge's rate limits: one line each. A refusal says when to try again."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from controlplane.base.refusal import TooMany

from .store import Store, StoreAway


@dataclass(frozen=True, slots=True)
class Limit:
    """A token bucket: `burst` at once, `per_minute` refilled."""

    name: str
    burst: int
    per_minute: float
    words: str


PREPARE = Limit("prepare", 30, 60, "You asked to call too often in a short time")
PREPARE_DAY = Limit("prepare.day", 500, 500 / 1440, "You asked to call very many times today")
INVITE = Limit("invite", 15, 30, "You placed too many calls in a short time")
HELLO = Limit("hello", 30, 60, "This device connected too often in a short time")
REQUEST = Limit("request", 240, 600, "This device sent too many requests in a short time")
FORWARD = Limit("forward", 3000, 6000, "Too many requests came from this address")

FRAMES_PER_SECOND = 20
FRAMES_BURST = 60
SOCKETS_PER_PERSON = 4
SEND_QUEUE_BYTES = 256 * 1024
SEND_SECONDS = 5.0
HELLO_SECONDS = 5.0


class Limits:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def spend(self, limit: Limit, who: str) -> None:
        """One token of this limit. Raises `TooMany` with the seconds to wait; while Redis is away, nobody waits."""
        key = f"rc:limit:{limit.name}:{who}"
        try:
            wait = int(
                await self._store.script("limit", [key], [limit.burst, limit.per_minute / 60, int(time.time() * 1000)])
            )
        except StoreAway:
            return
        if wait:
            seconds = max(1, math.ceil(wait / 1000))
            raise TooMany(f"{limit.words}. Try again in {seconds} s.", retry_after=seconds)


class FrameBudget:
    """20 frames a second for one socket, with a burst; kept in memory, since a socket has one home."""

    __slots__ = ("_at", "_left")

    def __init__(self, now: float) -> None:
        self._left = float(FRAMES_BURST)
        self._at = now

    def spend(self, now: float) -> bool:
        self._left = min(FRAMES_BURST, self._left + (now - self._at) * FRAMES_PER_SECOND)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
