"""Inboxes: what a device gets, in order and at least once, over its socket or by asking.

A doorbell carries the event itself. A socket that sees a gap reads its inbox from where it stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import orjson

from calls.rules.call import Delivered
from calls.rules.ending import UNHEARD

from .arbiter import Arbiter
from .errors import signed_out
from .session import Session
from .store import Entry, Store, StoreAway, read_entries

FLUSH_SECONDS = 1.0
LOOK_SECONDS = 2.0


class Inboxes:
    """The sockets of this edge by device, and those who wait by long poll."""

    def __init__(
        self, store: Store, arbiter: Arbiter, clock: Callable[[], int], is_revoked: Callable[[str], bool]
    ) -> None:
        self.store = store
        self.arbiter = arbiter
        self.clock = clock
        self.is_revoked = is_revoked
        self.sessions: dict[str, Session] = {}
        self.waiting: dict[str, set[asyncio.Event]] = {}

    def ring(self, message: bytes) -> None:
        """A doorbell: `ev\\n<device>\\n<entry>`, or `wake\\n<device>`, or `replaced\\n<device>\\n<session>`."""
        kind, _, rest = message.partition(b"\n")
        if kind != b"ev":
            return
        device_raw, _, raw = rest.partition(b"\n")
        device = device_raw.decode()
        self.wake(device)
        session = self.sessions.get(device)
        if session is None:
            return
        for entry in read_entries([raw], self.store.box):
            self._hand_over(session, entry)

    def _hand_over(self, session: Session, entry: Entry) -> None:
        if entry.body.startswith(b'{"t":"ended",'):
            self.arbiter.forget(orjson.loads(entry.body)["call"])
        if not session.ready:
            session.behind = True
        elif entry.seq == session.sent + 1:
            session.send_event(entry, self.clock())
        elif entry.seq > session.sent:
            self.arbiter.spawn(self.catch_up(session))

    def wake(self, device: str) -> None:
        """Whoever waits for this device looks again."""
        for waiting in self.waiting.get(device, ()):
            waiting.set()

    async def catch_up(self, session: Session) -> None:
        """Everything after what was sent goes out now."""
        session.ready = False
        try:
            while True:
                session.behind = False
                for entry in await self.store.fetch(session.device, session.sent):
                    session.send_event(entry, self.clock())
                if not session.behind:
                    break
        except StoreAway:
            pass  # the doorbells are read again from the start when Redis is back
        session.ready = True

    async def catch_up_all(self) -> None:
        for session in list(self.sessions.values()):
            if session.ready:
                await self.catch_up(session)

    async def late(self, entries: Sequence[Entry]) -> list[Entry]:
        """A device that wakes up late: calls that are over don't ring, they were missed, or are not worth a word."""
        kept = []
        for entry in entries:
            if entry.body.startswith(b'{"t":"ring",'):
                body = orjson.loads(entry.body)
                call = await self.arbiter.look(body["call"])
                if call is not None and call.over and call.reason in UNHEARD:
                    continue
                if call is None or call.over:
                    who = {name: body["from"].get(name) for name in ("subscriber", "device", "phone")}
                    missed = {"t": "missed", "call": body["call"], "from": who, "media": body["media"]}
                    entry = Entry(entry.seq, entry.at, orjson.dumps(missed))
            kept.append(entry)
        return kept

    def ack(self, session: Session, shown: int) -> None:
        """Events up to this number are handled. The inbox is trimmed a little later, many at once."""
        seq = min(session.numbering.stored(shown), session.sent)
        if seq <= session.acked:
            return
        session.acked = seq
        for ringing in [number for number in session.rings if number <= seq]:
            self.arbiter.spawn(self._delivered(session.rings.pop(ringing), session.device))
        if session.flushing is None:
            loop = asyncio.get_running_loop()
            session.flushing = loop.call_later(FLUSH_SECONDS, lambda: self.arbiter.spawn(self.flush(session)))

    async def flush(self, session: Session) -> None:
        session.flushing = None
        try:
            await self.store.trim(session.device, session.acked)
        except StoreAway:
            pass  # it comes again, and the phone knows it by its number

    async def _delivered(self, call: str, device: str) -> None:
        try:
            await self.arbiter.apply(call, Delivered(device))
        except StoreAway:
            pass  # progress only

    async def wait(self, device: str, after: int, seconds: float) -> list[Entry]:
        """Events after a number; when there are none, wait for one up to `seconds`. Raises `NotAuthenticated` once the
        device was revoked."""
        rung = asyncio.Event()
        self.waiting.setdefault(device, set()).add(rung)
        try:
            if device not in self.sessions:
                await self.store.place(device)
            loop = asyncio.get_running_loop()
            until = loop.time() + seconds
            while True:
                rung.clear()
                entries = await self.store.fetch(device, after)
                left = until - loop.time()
                if self.is_revoked(device):
                    raise signed_out()
                if entries or left <= 0:
                    return await self.late(entries)
                try:
                    async with asyncio.timeout(min(left, LOOK_SECONDS)):
                        await rung.wait()
                except TimeoutError:
                    pass  # a doorbell may have rung elsewhere: look
        finally:
            self.waiting[device].discard(rung)
            if not self.waiting[device]:
                del self.waiting[device]
