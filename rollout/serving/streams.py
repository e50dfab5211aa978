"""Event streams: tells listeners at once that they should evaluate again, and nothing about what.

Server-sent events as OFREP's event-streams.yaml says. A new ruleset concerns everybody; a grant only the person who
has it. Several changes at once are one event. A reader that doesn't keep up is cut off: it connects again.
"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections import deque
from collections.abc import Iterator
from datetime import datetime

import orjson
import structlog
from aiohttp import web

from controlplane.base.refusal import NotAuthenticated, TooMany
from rollout.rules.decision.decision import Ruleset
from rollout.rules.definition.rfc3339 import moment
from rollout.rules.limits import STREAM_SECONDS, STREAMS_PER_EDGE, STREAMS_PER_PERSON
from rollout.serving.browsers import CORS
from rollout.serving.feed import OVERLAP, FeedRow
from rollout.serving.party import BearerToken
from rollout.serving.server import Server
from rollout.serving.stream_pass import Seal, StreamPass, good_until

log = structlog.get_logger(__name__)

PATH = "/ofrep/v1/events"
INACTIVITY = 120  # seconds after which a hidden page should hang up
HEARTBEAT = 15.0  # seconds between signs of life
LATELY = 60.0  # seconds within which a listener may have missed a change between its evaluation and its first event
CATCH_UP = 2.0  # seconds to wait for what another process already knows
SEND_BUFFER = 16 * 1024  # bytes that wait for a slow reader in the kernel, and again as many here
AT_ONCE = 200  # streams told before others get their turn
RETRY = (2_000, 5_000)  # milliseconds: reconnecting is spread


class Stream:
    """One listener. `changed` is set when there is something to tell, or nothing more."""

    __slots__ = ("changed", "ended", "issued", "request")

    def __init__(self, issued: StreamPass, request: web.Request) -> None:
        self.issued = issued
        self.request = request
        self.changed = asyncio.Event()
        self.ended = False

    def end(self) -> None:
        self.ended = True
        self.changed.set()

    @property
    def gone(self) -> bool:
        transport = self.request.transport
        return transport is None or transport.is_closing()


class Streams:
    """All event streams of one process."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._seal = Seal(server.stream_key)
        self._address = f"{server.public_url}{PATH}?token="
        self._open: dict[str, set[Stream]] = {}  # by subscriber
        self._count = 0
        self._due: deque[Stream] = deque()
        self._telling: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._closed = False
        self._swapped_at = -LATELY  # when a ruleset replaced another one here, in monotonic seconds
        server.rulesets.listeners.append(self._ruleset_changed)
        server.on_feed.append(self._feed_changed)

    def __len__(self) -> int:
        return self._count

    # what an evaluation says about streams

    def pass_for(self, subscriber: str, now: datetime, *, token: BearerToken | None, key: str) -> StreamPass:
        """The same for some minutes: a phone or an API key may listen to what concerns this subscriber."""
        if token is not None:
            return StreamPass(subscriber, token.device, "", token.expires_at)
        return StreamPass(subscriber, "", key, good_until(subscriber, now.timestamp()))

    def advertise(self, issued: StreamPass) -> list[dict[str, object]]:
        """OFREP's `eventStreams`."""
        return [{"type": "sse", "url": self._address + self._seal.write(issued), "inactivityDelaySec": INACTIVITY}]

    def mark(self, subscriber: str) -> str:
        """What this process knows that may matter to this subscriber: a ruleset's version and a feed row's id."""
        return f"{self._server.rulesets.current.version}.{self._last_fact(subscriber)}"

    def modified(self, subscriber: str) -> int:
        """When that last changed, in epoch seconds."""
        facts = self._server.feed.facts_for(subscriber, 0)
        return max(self._server.rulesets.current.published_at // 1000, int(facts[-1].at) if facts else 0)

    async def catch_up(self, subscriber: str, etag: str | None, modified: str | None) -> None:
        """Wait shortly when the listener was told, by whichever process, of something newer than what is known here.

        Both are what an event said; whatever can't be read is nothing. Afterwards the answer is the best there is.
        """
        if not self._behind(subscriber, etag, modified):
            return
        self._server.nudge()
        try:
            async with asyncio.timeout(CATCH_UP):
                while self._behind(subscriber, etag, modified):
                    await self._news.wait()
        except TimeoutError:
            pass

    def _behind(self, subscriber: str, etag: str | None, modified: str | None) -> bool:
        if etag:
            version, _, fact = etag.strip('"').partition(".")
            if not (version.isdecimal() and fact.isdecimal() and len(etag) < 50):
                return False
            return (self._server.rulesets.current.version, self._last_fact(subscriber)) < (int(version), 0) or (
                self._last_fact(subscriber) < int(fact)
            )
        at = _epoch(modified)
        return at is not None and self.modified(subscriber) < at <= self._server.now().timestamp() + 1

    def _last_fact(self, subscriber: str) -> int:
        facts = self._server.feed.facts_for(subscriber, 0)
        return facts[-1].id if facts else 0

    # listening

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Until the listener hangs up. Raises `NotAuthenticated` or `TooMany`."""
        now, grace = self._server.now().timestamp(), self._server.grace()
        issued = self._seal.read(request.query.get("token", ""), now, grace)
        if self._is_revoked(issued):
            raise NotAuthenticated("This event stream's owner was signed out. Sign in again.")
        stream = self._enter(issued, request)
        try:
            return await self._pump(stream, request)
        finally:
            self._leave(stream)

    def _is_revoked(self, issued: StreamPass) -> bool:
        if issued.device:
            return self._server.feed.is_revoked(issued.device)
        return issued.key not in self._live_keys()

    def _live_keys(self) -> set[str]:
        now = self._server.now().timestamp() * 1000
        keys = self._server.rulesets.current.api_keys.values()
        return {key.id for key in keys if key.expires_at is None or key.expires_at > now}

    def _enter(self, issued: StreamPass, request: web.Request) -> Stream:
        held = self._open.get(issued.subscriber, set())
        for stream in [each for each in held if each.gone]:
            self._leave(stream)
        mine = [each for each in held if each.issued.holder == issued.holder]
        if len(mine) >= STREAMS_PER_PERSON:
            raise TooMany(
                f"At most {STREAMS_PER_PERSON} event streams are open for one person: close another one first.",
                retry_after=int(HEARTBEAT),
            )
        if self._count >= STREAMS_PER_EDGE or self._closed:
            raise TooMany("Too many event streams are open. Ask for changes now and then instead.", retry_after=60)
        stream = Stream(issued, request)
        self._open.setdefault(issued.subscriber, set()).add(stream)
        self._count += 1
        return stream

    def _leave(self, stream: Stream) -> None:
        held = self._open.get(stream.issued.subscriber)
        if held is None or stream not in held:
            return
        held.discard(stream)
        self._count -= 1
        stream.end()
        if not held:
            del self._open[stream.issued.subscriber]

    async def _pump(self, stream: Stream, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
                **request.get(CORS, {}),
            }
        )
        await response.prepare(request)
        _keep_little(request)
        ends_at = time.monotonic() + STREAM_SECONDS * random.uniform(0.9, 1.1)  # noqa: S311 - spreads reconnecting
        try:
            await response.write(self._greeting(stream, request))
            while not stream.ended and (left := self._left(stream, ends_at)) > 0:
                try:
                    async with asyncio.timeout(min(HEARTBEAT, left)):
                        await stream.changed.wait()
                    stream.changed.clear()
                    block = self._event(stream)
                except TimeoutError:
                    block = b": still here\n\n"
                if stream.ended or stream.gone or not _keeps_up(request):
                    break
                await response.write(block)
        except (ConnectionError, TimeoutError):
            pass
        if (transport := request.transport) is not None and not _keeps_up(request):
            log.info("stream.cut_off", why="the reader does not keep up")
            transport.abort()
        return response

    def _left(self, stream: Stream, ends_at: float) -> float:
        """Seconds for which the stream may go on: to its own end, and a phone's no longer than its access token."""
        left = ends_at - time.monotonic()
        if stream.issued.device:
            left = min(left, stream.issued.good_until + self._server.grace() - self._server.now().timestamp())
        return left

    def _greeting(self, stream: Stream, request: web.Request) -> bytes:
        """How soon to come back, where the listener stands, and whether there is something it missed."""
        subscriber = stream.issued.subscriber
        mark = self.mark(subscriber)
        start = f"retry: {random.randint(*RETRY)}\nid: {mark}\n\n".encode()  # noqa: S311
        last = request.headers.get("Last-Event-ID")
        now = self._server.now().timestamp()
        missed = last is not None and last != mark
        if last is None:
            missed = time.monotonic() - self._swapped_at < LATELY
        missed = missed or bool(self._server.feed.facts_for(subscriber, now - (0 if last else LATELY - OVERLAP)))
        return start + (self._event(stream) if missed else b"")

    def _event(self, stream: Stream) -> bytes:
        subscriber = stream.issued.subscriber
        mark = self.mark(subscriber)
        data = {"type": "refetchEvaluation", "etag": mark, "lastModified": self.modified(subscriber)}
        return b"id: " + mark.encode() + b"\ndata: " + orjson.dumps(data) + b"\n\n"

    # what happens elsewhere

    def _ruleset_changed(self, old: Ruleset, new: Ruleset) -> None:
        if old.version:
            self._swapped_at = time.monotonic()
        self._woken()
        self._due = deque(self._all())
        keys = self._live_keys()
        for stream in self._due:
            if stream.issued.key and stream.issued.key not in keys:
                stream.end()
        if self._due and (self._telling is None or self._telling.done()):
            self._telling = asyncio.get_running_loop().create_task(self._tell(), name="streams")

    def _feed_changed(self, rows: list[FeedRow]) -> None:
        self._woken()
        for row in rows:
            held = self._open.get(str(row.payload.get("subscriber")), ())
            for stream in held:
                if row.kind.startswith("grant."):
                    stream.changed.set()
                elif row.payload.get("device") == stream.issued.device:
                    stream.end()

    async def _tell(self) -> None:
        """All of them, in turns: requests are answered in between."""
        while self._due:
            for _ in range(min(AT_ONCE, len(self._due))):
                self._due.popleft().changed.set()
            await asyncio.sleep(0)

    def _woken(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _all(self) -> Iterator[Stream]:
        return (stream for held in self._open.values() for stream in held)

    async def close(self, _: web.Application | None = None) -> None:
        """Ends every stream: listeners connect to another process."""
        self._closed = True
        for stream in list(self._all()):
            stream.end()


def _epoch(text: str | None) -> float | None:
    """Epoch seconds from what an event's `lastModified` may hold: a number of seconds, or a moment by RFC 3339."""
    if not text or len(text) > 40:
        return None
    if text.isascii() and text.isdigit():
        return float(text)
    told = moment(text)
    return told.timestamp() if told else None


def _keep_little(request: web.Request) -> None:
    """The kernel holds little for one listener, so that one who doesn't read is soon noticed."""
    if (transport := request.transport) is not None and (raw := transport.get_extra_info("socket")) is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)


def _keeps_up(request: web.Request) -> bool:
    """Whether what was written before has left this process, but for a little."""
    transport = request.transport
    return transport is None or transport.get_write_buffer_size() <= SEND_BUFFER
