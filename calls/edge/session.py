"""One open socket: what it may send, what was sent to it, and how the numbers of its events are kept in order."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import WSMsgType, web

from controlplane.base.refusal import Refusal

from .limits import SEND_QUEUE_BYTES, SEND_SECONDS, FrameBudget
from .store import Entry
from .tokens import Token

FOREVER = 2**62


class Numbering:
    """Numbers of the inbox and numbers that the phone sees.

    They are the same until the edge has to tell something while the inbox can't take it, or until Redis came back
    empty: from then on what the phone sees is `skew` higher, for inbox numbers up to `until`.
    """

    __slots__ = ("skew", "until")

    def __init__(self) -> None:
        self.skew = 0
        self.until = FOREVER

    def shown(self, seq: int) -> int:
        return seq + self.skew if seq <= self.until else seq

    def stored(self, shown: int) -> int:
        return shown if shown > self.until + self.skew else max(0, shown - self.skew)


def event_frame(entry: Entry, seq: int, now_ms: int) -> bytes:
    return b'{"k":"ev","seq":%d,"age_ms":%d,%s' % (seq, max(0, now_ms - entry.at), entry.body[1:])


class Session:
    """Frames go out through a queue that never blocks the sender; a phone that doesn't read is cut off."""

    def __init__(
        self, name: str, token: Token, socket: web.WebSocketResponse, transport: asyncio.Transport | None
    ) -> None:
        self.name = name
        self.token = token
        self.socket = socket
        self.epoch = ""
        self.numbering = Numbering()
        self.owed = 0
        self.sent = 0
        self.ready = False
        self.behind = False
        self.acked = 0
        self.flushing: asyncio.TimerHandle | None = None
        self.rings: dict[int, str] = {}
        self.budget = FrameBudget(time.monotonic())
        self.closing = False
        self._transport = transport
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._writer: asyncio.Task[None] | None = None

    @property
    def subscriber(self) -> str:
        return self.token.subscriber

    @property
    def device(self) -> str:
        return self.token.device

    def send(self, frame: bytes) -> None:
        if self.closing:
            return
        self._queue.append(frame)
        self._queued += len(frame)
        if self._queued > SEND_QUEUE_BYTES:
            self.abort()
        elif self._writer is None:
            self._writer = asyncio.ensure_future(self._write())

    def send_json(self, frame: Mapping[str, Any]) -> None:
        self.send(orjson.dumps(frame))

    def send_event(self, entry: Entry, now_ms: int) -> None:
        """An event of the inbox, in order; `sent` moves on."""
        self.sent = entry.seq
        if entry.body.startswith(b'{"t":"ring",'):
            self.rings[entry.seq] = orjson.loads(entry.body)["call"]
        self.send(event_frame(entry, self.numbering.shown(entry.seq), now_ms))

    def tell_now(self, body: Mapping[str, Any], now_ms: int) -> None:
        """An event that the inbox can't take now: it gets the next number that the phone hasn't seen."""
        if self.sent > self.numbering.until:
            self.numbering.skew = 0  # what an earlier silence took was made up for
        self.numbering.skew += 1
        self.numbering.until = FOREVER
        self.owed += 1
        entry = Entry(0, now_ms, orjson.dumps(body))
        self.send(event_frame(entry, self.numbering.shown(self.sent), now_ms))

    def start_over(self) -> None:
        """The inbox came back empty, and counts from 1 again; the phone's numbers go on."""
        self.numbering.skew += self.sent
        self.numbering.until = FOREVER
        self.sent = self.acked = self.owed = 0
        self.rings.clear()

    async def _write(self) -> None:
        try:
            while self._queue:
                frame = self._queue.popleft()
                self._queued -= len(frame)
                async with asyncio.timeout(SEND_SECONDS):
                    await self.socket.send_frame(frame, WSMsgType.TEXT)
        except TimeoutError:
            self.abort()
        except (ConnectionError, RuntimeError):
            self.closing = True
        finally:
            self._writer = None

    def abort(self) -> None:
        """Cut off at once: nothing more is read or written."""
        self.closing = True
        self._queue.clear()
        self._queued = 0
        if self._transport is not None:
            self._transport.abort()

    async def bye(self, refusal: Refusal, code: int) -> None:
        """Say why, then close. What was queued before is sent first."""
        if self.closing:
            return
        self.send_json({"k": "bye", "problem": refusal.as_problem()})
        self.closing = True
        if self._writer is not None:
            await asyncio.wait({self._writer}, timeout=1)
        try:
            async with asyncio.timeout(3):
                await self.socket.close(code=code, message=refusal.code.encode()[:120])
        except (TimeoutError, ConnectionError, RuntimeError):
            self.abort()
