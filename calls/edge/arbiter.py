"""Moves calls: the rule decides, Redis compares the version, PostgreSQL turns reservations into grants.

On a lost race the call is read and decided again. What this edge has seen last of each call stays in memory: most steps
need one round trip, and when Redis loses everything the edge still knows which calls its sockets are in.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog

from calls.rules.call import (
    Call,
    Complete,
    Completed,
    Dropped,
    Due,
    Effect,
    Event,
    Hung,
    Invited,
    Record,
    Release,
    Restored,
    Settle,
    State,
    Tell,
    Timers,
)
from calls.rules.grant_event import grant_event
from calls.rules.moves import step
from controlplane.base.refusal import Refusal, TryAgain

from .database import Database
from .journal import Journal
from .metrics import Metrics
from .store import Reply, Store, StoreAway, Stored

MOST_KNOWN = 50_000
MOST_RACES = 16
RELEASE_TRIES = 5
log = structlog.get_logger("edge")


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of an event: the call before and after, or `call` None when there is no such call."""

    call: Call | None
    dropped: bool = False
    older: str | None = None
    again: bytes | None = None


class Arbiter:
    def __init__(
        self,
        store: Store,
        database: Database,
        journal: Journal,
        metrics: Metrics,
        timers: Timers,
        clock: Callable[[], int],
    ) -> None:
        self.store = store
        self.database = database
        self.journal = journal
        self.metrics = metrics
        self.timers = timers
        self.clock = clock
        self.known: OrderedDict[str, Stored] = OrderedDict()
        self.mine: set[str] = set()
        self.attempts: dict[str, int] = {}
        self.setups: dict[str, int] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    async def look(self, call: str) -> Call | None:
        """The call as Redis has it now."""
        stored = await self.store.load(call)
        if stored is None:
            return None
        self._remember(stored)
        return stored.call

    async def begin(self, event: Invited | Restored, reply: Reply | None = None) -> Moved:
        """Make the record of a call. `older` names a live call of the same two people that stands in the way."""
        now = self.clock()
        after, effects = step(None, event, now, self.timers)
        assert after is not None
        tells = [effect for effect in effects if isinstance(effect, Tell)]
        done = await self.store.commit(None, after, tells, now, reply)
        if done.how == "again":
            return Moved(after, again=done.value.encode())
        if done.how != "ok":
            return Moved(None, older=done.value if done.how == "pair" else after.id)
        self._remember(Stored(after, int(done.value)))
        self.mine.add(after.id)
        return Moved(after)

    async def apply(self, call: str, event: Event, *, from_memory: bool = True) -> Moved:
        """Move the call by one event, and do what the rule asks for. Raises `StoreAway`, and `TryAgain` for accepts."""
        stored = self.known.get(call) if from_memory else None
        fresh = False
        for _ in range(MOST_RACES):
            if stored is None:
                stored, fresh = await self.store.load(call) or self._wiped(call, event), True
                if stored is None:
                    self.forget(call)
                    return Moved(None)
                self._remember(stored)
            now = self.clock()
            after, effects = step(stored.call, event, now, self.timers)
            assert after is not None
            tells = [effect for effect in effects if isinstance(effect, Tell)]
            if after is stored.call and not tells:
                if not fresh:  # memory may be old: look before saying no
                    stored = None
                    continue
                return await self._unmoved(after, effects)
            done = await self.store.commit(stored, after, tells, now)
            if done.how == "ok":
                moved = Stored(after, int(done.value))
                self._remember(moved)
                self._count(stored.call, after)
                return await self._run(moved, effects)
            stored = None
        raise TryAgain("Too many changes to this call at once. Try again.", retry_after=1)

    def _wiped(self, call: str, event: Event) -> Stored | None:
        """A live call whose record Redis has lost, when somebody hangs up: the other side must hear of it as well."""
        stored = self.known.get(call)
        if stored is None or stored.call.over or not isinstance(event, Hung):
            return None
        return Stored(stored.call, 0)

    async def _unmoved(self, call: Call, effects: tuple[Effect, ...]) -> Moved:
        dropped = False
        for effect in effects:
            if isinstance(effect, Dropped):
                self.metrics.dropped.labels(effect.state, effect.event).inc()
                dropped = True
        if not dropped and effects:
            return await self._run(self.known.get(call.id) or Stored(call, 0), effects)
        return Moved(call, dropped=dropped)

    async def _run(self, stored: Stored, effects: tuple[Effect, ...]) -> Moved:
        call = stored.call
        moved = Moved(call)
        for effect in effects:
            if isinstance(effect, Complete):
                moved = await self._complete(call)
            elif isinstance(effect, Settle):
                moved = await self._settle(call)
            elif isinstance(effect, Release):
                self.spawn(self.release(call.identity.feature, call.id, effect.why))
            elif isinstance(effect, Record):
                self.journal.add(call, stored.version)
        return moved

    async def _complete(self, call: Call) -> Moved:
        feature = call.identity.feature
        row = await self.database.row("SELECT outcome, detail FROM rollout_complete(%s, %s)", (feature, call.id))
        outcome, detail = row or ("no_reservation", {})
        grant = grant_event(feature, detail["grant"], "invite") if (detail or {}).get("grant") else None
        return await self.apply(call.id, Completed(str(outcome), grant))

    async def _settle(self, call: Call) -> Moved:
        row = await self.database.row("SELECT rollout_release(%s, %s, %s)", (call.identity.feature, call.id, "overdue"))
        if row and row[0]:
            return await self.apply(call.id, Completed("overdue"))
        return await self._complete(call)

    async def release(self, feature: str, call: str, why: str) -> None:
        """Give a reservation back; should that fail for long, its expiry does it."""
        for attempt in range(RELEASE_TRIES):
            try:
                await self.database.row("SELECT rollout_release(%s, %s, %s)", (feature, call, why))
                return
            except Refusal:
                await asyncio.sleep(2**attempt)
            except Exception:
                log.exception("reservation.release_failed", call=call)
                return

    async def sweep(self) -> int:
        """End or move on what is overdue; how many calls were looked at."""
        due = await self.store.due(self.clock())
        for call in due:
            try:
                moved = await self.apply(call, Due(), from_memory=False)
            except TryAgain:
                continue  # PostgreSQL is away: the claim runs out, and the next round comes back to it
            except StoreAway:
                raise
            except Exception:
                log.exception("call.sweep_failed", call=call)
                continue
            if moved.call is None:
                await self.store.forget(call, await self.store.areas())
            elif moved.dropped and not moved.call.over:
                await self.store.reschedule(call, moved.call.deadline)
        return len(due)

    def forget(self, call: str) -> None:
        self.known.pop(call, None)
        self.mine.discard(call)

    def concurrent(self, now: int) -> dict[str, int]:
        """Live calls by area that were placed here, as far as memory knows."""
        counts: dict[str, int] = {}
        for call in list(self.mine):
            stored = self.known.get(call)
            if stored is None or stored.call.over or stored.call.deadline + 5_000 < now:
                self.forget(call)
                continue
            counts[stored.call.identity.area] = counts.get(stored.call.identity.area, 0) + 1
        return counts

    def attempted(self, area: str) -> None:
        self.attempts[area] = self.attempts.get(area, 0) + 1
        self.metrics.attempts.labels(area).inc()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run something beside the requests; it is kept from being collected until it ends."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self, seconds: float) -> None:
        """Wait for what runs beside the requests."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds)

    def _remember(self, stored: Stored) -> None:
        call = stored.call.id
        self.known[call] = stored
        self.known.move_to_end(call)
        if stored.call.over:
            self.mine.discard(call)
        if len(self.known) > MOST_KNOWN:
            self.known.popitem(last=False)

    def _count(self, before: Call, after: Call) -> None:
        if before.state is after.state:
            return
        if after.state is State.CONNECTED:
            self.setups[after.identity.area] = self.setups.get(after.identity.area, 0) + 1
            self.metrics.setups.labels(after.identity.area).inc()
            self.metrics.setup_seconds.observe(max(0, (after.connected_at or 0) - after.created_at) / 1000)
        elif after.over:
            self.metrics.ended.labels(str(after.reason)).inc()
