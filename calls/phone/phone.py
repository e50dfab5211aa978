"""A whole phone: one identity, one socket, at most one call at a time, and a standing wish for calls that come in."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp

from calls.phone.account import Account, AskCode, Refused
from calls.phone.call import Call, Ending, PhoneParts, State
from calls.phone.identity import Identity
from calls.phone.incoming import Policy, say_busy, take
from calls.phone.leg import MakeMedia, Wish
from calls.phone.outgoing import place
from calls.phone.report import Reporter, now_ms
from calls.phone.signaling import Signaling
from calls.rules.blob import Role

REPLAY_MS = 24 * 3600 * 1000
LATE_MS = 60_000
FAREWELL_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Device:
    """What a phone tells of itself when it registers."""

    platform: str = "android"
    app_version: str = "1.0.0"
    os_version: str = "14"
    device_class: str = "mid"
    label: str = "Reference phone"
    language: str = "de"

    def as_json(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in self.__slots__}


class Phone:
    """Use as an async context manager; `registered` phones then `connect`."""

    def __init__(self, folder: Path, url: str, reporter: Reporter, make_media: MakeMedia) -> None:
        self.identity = Identity(folder)
        self.url = (url or self.identity.url).rstrip("/")
        self.reporter = reporter
        self.make_media = make_media
        self.policy = Policy()
        self.ended = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Phone:
        self.http = aiohttp.ClientSession()
        self.account = Account(self.identity, self.url, self.http)
        self.signaling = Signaling(self.account, self.reporter, self.hear)
        self.parts = PhoneParts(self.identity, self.signaling, self.reporter, self.make_media, calls={}, consents={})
        return self

    async def __aexit__(self, *error: object) -> None:
        farewells = [asyncio.create_task(call.hang_up()) for call in list(self.parts.calls.values())]
        if farewells:
            await asyncio.wait(farewells, timeout=FAREWELL_SECONDS)  # the server may be away: then its timers end them
            for farewell in farewells:
                farewell.cancel()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.signaling.close()
        if self.identity.registered:
            self.identity.keep_mark()
        await self.http.close()
        self.identity.close()

    async def register(self, number: str, device: Device, *, carrier: str | None, name: str, code: AskCode) -> None:
        self.identity.name = name
        await self.account.register(number, device.as_json(), carrier=carrier, code=code)
        me = self.identity
        words = f"Registered as {me.phone}."
        self.reporter.say("registered", words, phone=me.phone, subscriber=me.subscriber, device=me.device)

    async def connect(self) -> None:
        """Open the socket and wait until the server welcomes it. Raises `Refused` where it never will."""
        if not self.identity.registered:
            raise Refused.here("not_registered", "This phone isn't registered yet: run `phone register --phone +49…`.")
        self.signaling.start()
        online = asyncio.ensure_future(self.signaling.online.wait())
        either: set[asyncio.Future[Any]] = {online, self.signaling.stopped}
        done, _ = await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if online not in done:
            online.cancel()
            raise Refused.here("offline", self.signaling.stopped.result())

    # Calls

    @property
    def call(self) -> Call | None:
        """The call that this phone is in, or that rings."""
        return next((call for call in self.parts.calls.values() if not call.over.done()), None)

    async def place(self, whom: Mapping[str, str], wish: Wish) -> Ending:
        return await place(self.parts, whom, wish)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run on the side; what fails unexpectedly is said, never swallowed."""

        async def guarded() -> None:
            try:
                await work
            except Exception as error:
                detail = f"This phone failed: {error!r}."
                self.reporter.refused({"code": "phone_failed", "detail": detail}, op="internal")

        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Events

    def hear(self, event: Mapping[str, Any]) -> None:
        """One event of the inbox. Never waits: what takes time runs on the side."""
        match str(event.get("t")):
            case "ring":
                self._ring(event)
            case "missed":
                who = (event.get("from") or {}).get("phone")
                words = f"You missed a call from {who or 'somebody'}."
                self.reporter.say("missed", words, call=event.get("call"), peer=who, media=event.get("media"))
            case "grant":
                fields = {name: event.get(name) for name in ("feature", "grant", "source", "words")}
                words = event.get("words") or f"You now have {event.get('feature')}."
                self.reporter.say("grant", str(words), **fields)
            case "features":
                self.reporter.say("features_changed", "", version=event.get("version"))
            case kind:
                call = self.parts.calls.get(str(event.get("call")))
                if call is not None:
                    call.hear(kind, event)

    def _ring(self, event: Mapping[str, Any]) -> None:
        call, age = str(event.get("call", "")), int(event.get("age_ms", 0))
        seen, now = self.identity.mark.seen, now_ms()
        for old in [key for key, at in seen.items() if now - at > REPLAY_MS]:
            del seen[old]
        if not call or call in seen:
            return  # repeated, by the inbox or by somebody who kept it
        seen[call] = now
        if age > min(LATE_MS, int(event.get("ring_ms", LATE_MS))):
            who = (event.get("from") or {}).get("phone")
            self.reporter.say("missed", f"You missed a call from {who}.", call=call, peer=who)
            return
        present = self.call
        if present is not None and not self._may_be_glare(present, event):
            self.spawn(say_busy(self.parts, event))
            return
        self.spawn(self._take(event))

    def _may_be_glare(self, present: Call, event: Mapping[str, Any]) -> bool:
        if present.role is not Role.INITIATOR or present.state is not State.CALLING or present.peer is None:
            return False
        return present.peer.subscriber == (event.get("from") or {}).get("subscriber")

    async def _take(self, event: Mapping[str, Any]) -> None:
        wish = self.policy.wish
        if wish.record is not None:
            wish = replace(wish, record=named(wish.record, str(event.get("call"))))
        await take(self.parts, event, replace(self.policy, wish=wish))
        self.ended += 1


def named(path: Path, call: str) -> Path:
    """The file of one call: `{call}` in the name becomes its id."""
    return Path(str(path).replace("{call}", call))
