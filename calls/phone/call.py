"""One call's life on a phone, from the handshake to the last word; `outgoing` and `incoming` are how it begins."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from calls.phone.account import Refused
from calls.phone.identity import Identity
from calls.phone.leg import MakeMedia, Media, MediaFailed, SecurityError, Wish
from calls.phone.report import Reporter, now_ms
from calls.phone.signaling import Line
from calls.rules.blob import BadBlob, Counters, Role, b64, confirmation, open_transport, seal_transport, unb64
from calls.rules.contacts import Recognised
from calls.rules.devices import BadDeviceList, DeviceList
from calls.rules.noise_ik import BadHandshake
from calls.rules.noise_ik import Session as Secret
from calls.rules.sdp import BadSession

ALIVE_SECONDS = 30.0
LAST_WORDS_SECONDS = 3.0
SETUP_SECONDS = 30.0
GONE = frozenset({"call_over", "call_unknown"})  # what was to be ended has ended
UNSURE = frozenset({"try_again", "unreachable"})  # the server may have done it all the same


class State(StrEnum):
    CALLING = "calling"
    RINGING = "ringing"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a call is over: one of the closed reasons, what lay behind it, and words for people."""

    reason: str
    cause: str | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end: its account, the verified device list, its number where it is known, and who that was to us."""

    subscriber: str
    listed: DeviceList
    phone: str | None
    found: Recognised

    @property
    def name(self) -> str:
        return self.phone or self.subscriber

    @property
    def not_compared(self) -> str:
        """What people should know before they believe that this is whom they mean; empty where they have compared."""
        if self.found.verified or self.found.change is not None:  # a change is told in words of its own
            return ""
        first = "This is the first call with them, and you" if self.found.is_first else "You"
        return f"{first} have not compared the safety number yet."


@dataclass(slots=True)
class PhoneParts:
    """What every call of a phone works with."""

    identity: Identity
    line: Line
    reporter: Reporter
    make_media: MakeMedia
    calls: dict[str, Call]
    consents: dict[str, tuple[str, float]]


class Call:
    """One call as this phone sees it. The network's messages come in by `hear`; the user's wishes are methods."""

    def __init__(self, parts: PhoneParts, role: Role, wish: Wish) -> None:
        self.parts = parts
        self.role = role
        self.wish = wish
        self.id = ""
        self.ticket: str | None = None
        self.peer: Peer | None = None
        self.peer_device = ""
        self.state = State.CALLING
        self.media: Media | None = None
        self.secret: Secret | None = None
        self.began_at = now_ms()
        self.over: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self.done = asyncio.Event()
        self.answered: asyncio.Event = asyncio.Event()
        self.accepted: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
        self._relays: asyncio.Queue[str] = asyncio.Queue()
        self._both_connected = asyncio.Event()
        self._counters = Counters()
        self._next_counter = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    # Telling

    def say(self, event: str, sentence: str, **fields: Any) -> None:
        peer = self.peer.name if self.peer else None
        ref, call = self.wish.ref, self.id or None
        self.parts.reporter.say(event, sentence, **{"call": call, "peer": peer, "ref": ref, **fields})

    def refused(self, refused: Refused, op: str) -> None:
        self.parts.reporter.refused(refused.problem, op=op, ref=self.wish.ref, call=self.id or None)

    # The network's messages

    def hear(self, kind: str, event: Mapping[str, Any]) -> None:
        match kind:
            case "ringing":
                if self.state is State.CALLING:
                    self.state = State.RINGING
                    self.say("ringing", "It rings.", device=event.get("device"))
            case "accepted":
                self.accepted.put_nowait(event)
            case "relay":
                if self._relays.qsize() < 64:
                    self._relays.put_nowait(str(event.get("blob", "")))
            case "connected":
                self._both_connected.set()
            case "ended":
                self.finish(_ending(event))
            case _:
                pass

    # The user's wishes

    def answer(self, wish: Wish | None = None) -> None:
        """The user takes the call: nothing from the network does this.

        Where a contact changed whom the user had compared, nothing happens until the user has agreed to it.
        """
        if self.peer is not None and self.parts.identity.meet(self.peer.listed, self.peer.phone).must_agree:
            detail = f"You had compared the safety number of {self.peer.name}. Agree with `trust` before you answer."
            self.refused(Refused.here("key_changed", detail), "answer")
            return
        if wish is not None:
            self.wish = wish
        self.answered.set()

    async def hang_up(self, reason: str = "hangup") -> None:
        """Cancel, decline or end, whichever fits the moment; returns once it is over."""
        if self.state is State.OVER:
            return
        op, more = self._last_op(reason)
        local = Ending({"cancel": "cancelled", "decline": "declined"}.get(op, reason))
        if self.id:
            try:
                await self._last_request(op, more, reason)
                await asyncio.wait({self.over}, timeout=LAST_WORDS_SECONDS)
            except Refused as refused:
                if refused.code not in GONE:
                    self.refused(refused, op)
        self.finish(local)

    async def _last_request(self, op: str, more: Mapping[str, Any], reason: str) -> None:
        try:
            await self.parts.line.request(op, call=self.id, **more)
        except Refused as refused:
            if refused.code != "too_late":
                raise
            await self.parts.line.request("end", call=self.id, reason=reason)  # they answered before we gave up

    def _last_op(self, reason: str) -> tuple[str, dict[str, Any]]:
        before = self.state in {State.CALLING, State.RINGING}
        if before and self.role is Role.INITIATOR:
            return "cancel", {}
        if before:
            return "decline", {"scope": "device"}
        return "end", {"reason": reason}

    def finish(self, ending: Ending) -> None:
        if not self.over.done():
            self.over.set_result(ending)

    # Life

    async def live(self, flow: Coroutine[Any, Any, None]) -> Ending:
        """Run a call's flow until it is over, for whichever reason; cleans up and tells the ending."""
        task = asyncio.create_task(flow)
        either: set[asyncio.Future[Any]] = {task, self.over}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if task.done() and not task.cancelled():
                await self._conclude(task.exception())
        finally:
            task.cancel()
            for other in self._tasks:
                other.cancel()
            await asyncio.gather(task, *self._tasks, return_exceptions=True)
        self.finish(Ending("lost"))
        ending = self.over.result()
        self.state = State.OVER
        stats = await self._close_media()
        self.parts.calls.pop(self.id, None)
        words = ending.words or f"The call is over: {ending.reason.replace('_', ' ')}."
        self.say("ended", words, reason=ending.reason, cause=ending.cause, words=words, stats=stats or None)
        self.done.set()
        return ending

    async def _conclude(self, error: BaseException | None) -> None:
        """Turn what stopped the flow into an ending; the arbiter hears of what only this phone can know."""
        match error:
            case None:
                return
            case Refused() if error.code == "call_over":
                ended = {"words": error.problem.get("detail"), **error.problem}
                self.finish(_ending(ended))
            case Refused() if self.state in {State.CONNECTING, State.CONNECTED}:
                await self._end_with(Ending("setup_failed", error.code, str(error)))
            case Refused() if error.code in UNSURE and self.role is Role.INITIATOR:
                await self._end_with(Ending("refused", error.code, str(error)))  # it may ring over there all the same
            case Refused():
                self.finish(Ending("refused", error.code, str(error)))
            case SecurityError() | BadHandshake() | BadBlob() | BadSession() | BadDeviceList():
                await self._end_with(Ending("security_error", None, str(error)))
            case MediaFailed() | TimeoutError():
                # Who hangs up takes the media down at once; the arbiter's word comes a moment later, and it counts.
                await asyncio.wait({self.over}, timeout=LAST_WORDS_SECONDS)
                if self.over.done():
                    return
                reason = "media_lost" if self.state is State.CONNECTED else "setup_failed"
                await self._end_with(Ending(reason, None, str(error) or "The other phone took too long."))
            case _:
                await self._end_with(Ending("setup_failed", type(error).__name__, f"This phone failed: {error}."))

    async def _end_with(self, ending: Ending) -> None:
        """Both sides learn the reason; a call that isn't accepted yet can only be declined or cancelled.

        What this phone knows of it counts for this phone, not the arbiter's echo.
        """
        op, more = self._last_op(ending.reason)
        if self.id:
            try:
                await self._last_request(op, more, ending.reason)
            except Refused as refused:
                if refused.code not in GONE:
                    self.refused(refused, op)
        self.over = asyncio.get_running_loop().create_future()
        self.finish(ending)

    async def _close_media(self) -> dict[str, Any]:
        if self.media is None:
            return {}
        try:
            return await self.media.stats()
        except Exception:  # a connection that never stood has none, and each stack says so in its own way
            return {}
        finally:
            await self.media.close()

    # From the handshake to the end

    async def tell(self, payload: Mapping[str, Any]) -> None:
        """Relay one sealed message. The blob is built once: a retry resends the very same bytes."""
        assert self.secret is not None
        blob = seal_transport(self.secret, self._next_counter, payload)
        self._next_counter += 1
        await self.parts.line.request("relay", call=self.id, blob=b64(blob))

    async def heard(self) -> Mapping[str, Any]:
        """The peer's next sealed message; repeats are dropped."""
        assert self.secret is not None
        while True:
            counter, payload = open_transport(self.secret, unb64(await self._relays.get()))
            if self._counters.is_new(counter):
                self._counters = self._counters.with_(counter)
                return payload

    async def talk(self) -> None:
        """Confirm who is there, say that we are connected, and stay until somebody hangs up or media breaks."""
        assert self.secret is not None
        assert self.media is not None
        other = Role.RESPONDER if self.role is Role.INITIATOR else Role.INITIATOR
        own, expected = (confirmation(role, self.secret.handshake_hash) for role in (self.role, other))
        await self.media.confirm(own, expected, self.tell, self.heard)
        assert self.peer is not None
        self.parts.identity.remember(self.peer.listed, self.peer.phone)
        tone = getattr(self.media, "tone", None)
        self.say(
            "media", "Connected from phone to phone, and confirmed.", set_up_ms=now_ms() - self.began_at, tone=tone
        )
        ok = await self.parts.line.request("connected", call=self.id)
        if ok.get("state") != "connected":
            await asyncio.wait_for(self._both_connected.wait(), SETUP_SECONDS)
        self.state = State.CONNECTED
        words = f"The call stands. {self.peer.not_compared}".rstrip()
        self.say("connected", words, compared=self.peer.found.verified)
        self._spawn(self._keep_alive())
        lost = asyncio.ensure_future(self.media.lost.wait())
        try:
            done, _ = await asyncio.wait({lost}, timeout=self.wish.seconds)
        finally:
            lost.cancel()
        if done:
            raise MediaFailed("The connection to the other phone was lost.")
        await self.hang_up()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.add(asyncio.create_task(work))

    async def _keep_alive(self) -> None:
        more = {"ticket": self.ticket} if self.ticket else {}
        while True:
            await asyncio.sleep(ALIVE_SECONDS)
            try:
                await self.parts.line.request("alive", call=self.id, **more)
            except Refused as refused:
                if refused.code == "call_over":
                    self.finish(_ending({"words": refused.problem.get("detail"), **refused.problem}))
                    return


def _ending(event: Mapping[str, Any]) -> Ending:
    cause = event.get("cause")
    return Ending(str(event.get("reason") or "lost"), str(cause) if cause else None, str(event.get("words") or ""))
