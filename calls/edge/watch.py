"""What comes from outside the sockets: doorbells, an empty Redis, kill switches, revoked grants and devices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence, Set

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from calls.rules.call import Call, Event, Finished, Gone, State, Tell
from calls.rules.ending import Reason, words
from controlplane.base.refusal import Refusal
from rollout.rules.decision.decision import Ruleset
from rollout.rules.definition.feature import Access, Switch
from rollout.serving.feed import FeedRow

from .arbiter import Arbiter
from .inbox import Inboxes
from .placing import Placing
from .sockets import Sockets
from .store import Store, StoreAway

SWEEP_SECONDS = 0.25
EPOCH_SECONDS = 0.5
PLACES_SECONDS = 60.0
EXPIRY_SECONDS = 1.0
RINGING_PATIENCE = 5.0
AT_ONCE = 50
LOOKED_AT = 1_000  # sockets whose tokens are looked at before others get their turn
UNANSWERED = (State.ROUTING, State.RINGING, State.ACCEPTING)
log = structlog.get_logger("edge")


class Watch:
    def __init__(
        self,
        store: Store,
        arbiter: Arbiter,
        inboxes: Inboxes,
        sockets: Sockets,
        placing: Placing,
    ) -> None:
        self.store = store
        self.arbiter = arbiter
        self.inboxes = inboxes
        self.sockets = sockets
        self.placing = placing

    async def bells(self) -> None:
        """Hear doorbells until cancelled. After each new subscription every socket reads its inbox once."""
        while True:
            try:
                client = Redis.from_url(self.store.url, socket_connect_timeout=1, health_check_interval=5)
                async with client, client.pubsub() as bells:
                    await bells.subscribe(f"rc:bell:{self.store.edge}")
                    await self.inboxes.catch_up_all()
                    while True:
                        message = await bells.get_message(ignore_subscribe_messages=True, timeout=2.0)
                        if message is not None:
                            self._heard(message["data"])
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("doorbells.lost", why=type(error).__name__)
                await asyncio.sleep(0.3)

    def _heard(self, data: bytes) -> None:
        try:
            if data.startswith(b"replaced\n"):
                _, device, name = data.decode().split("\n")
                self.sockets.replaced(device, name)
            else:
                self.inboxes.ring(data)
        except ValueError:
            log.warning("doorbell.unreadable")

    async def sweep(self) -> None:
        """End what is overdue, four times a second, until cancelled."""
        while True:
            try:
                while await self.arbiter.sweep() >= AT_ONCE:
                    pass
                self.arbiter.metrics.store_away.set(0)
            except StoreAway:
                self.arbiter.metrics.store_away.set(1)
                self._give_up_ringing()
            except Exception:
                log.exception("sweep.failed")
            await asyncio.sleep(SWEEP_SECONDS)

    def _give_up_ringing(self) -> None:
        """Redis has been silent for long: calls that ring here end in words, as far as memory knows them."""
        since = self.store.away_since
        if since is None or time.monotonic() - since < RINGING_PATIENCE:
            return
        for stored in list(self.arbiter.known.values()):
            if stored.call.state in UNANSWERED and self._local(stored.call):
                self._end_locally(stored.call, Reason.LOST, "store_lost")

    async def epochs(self) -> None:
        """Notice when Redis came back empty, until cancelled."""
        while True:
            try:
                epoch = await self.store.epoch()
                if self.store.known_epoch and epoch != self.store.known_epoch:
                    await self._wiped(epoch)
                self.store.known_epoch = epoch
                await self._make_up()
            except StoreAway:
                pass
            except Exception:
                log.exception("epoch.failed")
            await asyncio.sleep(EPOCH_SECONDS)

    async def _wiped(self, epoch: str) -> None:
        """Redis lost everything: sockets take their places again, ringing calls end, running ones return by `alive`."""
        log.warning("store.came_back_empty", epoch=epoch)
        sessions = list(self.inboxes.sessions.values())
        for session in sessions:
            session.start_over()
        for at in range(0, len(sessions), AT_ONCE):
            some = sessions[at : at + AT_ONCE]
            await self.store.settle_down({session.device: session.name for session in some})
        for stored in list(self.arbiter.known.values()):
            call = stored.call
            if call.state not in UNANSWERED or await self.store.load(call.id) is not None:
                continue  # one that is there was placed after the loss
            self._end_locally(call, Reason.LOST, "store_lost")
            if call.pending:
                self.arbiter.spawn(self.arbiter.release(call.identity.feature, call.id, "store_lost"))
        await self.inboxes.catch_up_all()

    async def _make_up(self) -> None:
        """Numbers that were given away while Redis was silent are used up in its counters too."""
        for session in list(self.inboxes.sessions.values()):
            if session.owed and session.ready:
                await self.inboxes.catch_up(session)
                count, session.owed = session.owed, 0
                if session.epoch == self.store.known_epoch:
                    session.numbering.until = await self.store.skip(session.device, count) - count

    async def places(self) -> None:
        """See that doorbells find every open socket, until cancelled: places run out, and are lost in races."""
        while True:
            await asyncio.sleep(PLACES_SECONDS)
            devices = list(self.inboxes.sessions)
            try:
                for at in range(0, len(devices), AT_ONCE):
                    await self._keep_places(devices[at : at + AT_ONCE])
            except StoreAway:
                pass  # the next round comes
            except Exception:
                log.exception("places.failed")

    async def expiries(self) -> None:
        """See that no socket outlives its access token, until cancelled."""
        while True:
            await asyncio.sleep(EXPIRY_SECONDS)
            sessions = list(self.inboxes.sessions.values())
            for at in range(0, len(sessions), LOOKED_AT):
                self.sockets.close_expired(sessions[at : at + LOOKED_AT])
                await asyncio.sleep(0)

    async def _keep_places(self, devices: Sequence[str]) -> None:
        found = [self.inboxes.sessions.get(device) for device in devices]
        sessions = {session.device: session for session in found if session is not None and session.ready}
        if not sessions:
            return
        held = await self.store.keep_places({device: session.name for device, session in sessions.items()})
        for device, holder in held.items():
            if not holder:
                self.arbiter.spawn(self.inboxes.catch_up(sessions[device]))
            elif holder.partition("|")[0] != self.store.edge:
                self.sockets.replaced(device, sessions[device].name)

    def _local(self, call: Call) -> bool:
        return any(device in self.inboxes.sessions for device in _devices(call))

    def _end_locally(self, call: Call, reason: Reason, cause: str | None) -> None:
        """Tell the phones here that a call is over, without the store."""
        body = {"t": "ended", "call": call.id, "reason": reason, "cause": cause, "words": words(reason, cause)}
        for device in _devices(call):
            session = self.inboxes.sessions.get(device)
            if session is not None:
                session.tell_now(body, self.inboxes.clock())
        self.arbiter.forget(call.id)

    # kill switches and revocations

    def ruleset_changed(self, old: Ruleset, new: Ruleset) -> None:
        """Stop calls that the new ruleset stops, and tell the phones that there is something new."""
        for key, compiled in new.features.items():
            feature = compiled.feature
            before = old.features.get(key)
            stop = feature.stop_calls_before
            if stop is None or (before is not None and before.feature.stop_calls_before == stop):
                continue
            # A call that slipped in between the kill and this moment is stopped too.
            moment = max(stop, self.arbiter.clock()) if feature.switch is Switch.KILLED else stop
            self.arbiter.spawn(self.stop_calls(key, moment))
        self.arbiter.metrics.ruleset.set(new.version)
        if old.version and old.digest != new.digest:
            self.arbiter.spawn(self._tell_features(new.version))

    async def stop_calls(self, feature: str, before: int) -> int:
        """End every live call of the feature that began before this moment (ms); how many were ended."""
        calls = {call for call, stored in self.arbiter.known.items() if stored.call.identity.feature == feature}
        try:
            for area in await self.store.areas():
                calls.update(await self.store.live(area))
        except StoreAway:
            pass  # memory knows those that our sockets are in
        stopped = 0
        todo = sorted(calls)
        for at in range(0, len(todo), AT_ONCE):
            results = await asyncio.gather(*(self._stop(call, feature, before) for call in todo[at : at + AT_ONCE]))
            stopped += sum(results)
        log.info("calls.stopped", feature=feature, calls=stopped)
        return stopped

    async def _stop(self, call: str, feature: str, before: int) -> bool:
        stored = self.arbiter.known.get(call)
        try:
            found = stored.call if stored else await self.arbiter.look(call)
            if found is None or found.over or found.identity.feature != feature or found.created_at >= before:
                return False
            moved = await self.arbiter.apply(call, Finished(Reason.STOPPED))
            if moved.call is None and stored is not None:  # the record is lost, the phones still talk
                self._end_locally(stored.call, Reason.STOPPED, None)
        except StoreAway:
            if stored is not None:
                self._end_locally(stored.call, Reason.STOPPED, None)
        except Refusal:
            return False
        return True

    async def _tell_features(self, version: int) -> None:
        devices = list(self.inboxes.sessions)
        for at in range(0, len(devices), AT_ONCE):
            tells = [
                Tell(device, "features", {"version": version}, key=f"features:{version}")
                for device in devices[at : at + AT_ONCE]
            ]
            try:
                await self.store.tell(tells, self.inboxes.clock())
            except StoreAway:
                return  # they ask again when they connect
            await asyncio.sleep(0.01)

    def feed_changed(self, rows: Iterable[FeedRow]) -> None:
        """Revoked grants end calls; revoked devices lose their sockets and their calls."""
        people: set[tuple[str, str]] = set()
        devices: set[str] = set()
        for row in rows:
            if row.kind == "device.revoked":
                devices.add(str(row.payload.get("device")))
            elif row.kind == "grant.revoked" and self._needs_grant(str(row.payload.get("feature"))):
                people.add((str(row.payload.get("feature")), str(row.payload.get("subscriber"))))
        if people or devices:
            self.arbiter.spawn(self._end_all(self._ends(people, devices), devices))
        for device in devices:
            self.arbiter.spawn(self.sockets.sign_out(device))

    def _needs_grant(self, feature: str) -> bool:
        compiled = self.placing.gate.rulesets.current.features.get(feature)
        return compiled is not None and compiled.feature.access is Access.GRANTED

    def _ends(self, people: Set[tuple[str, str]], devices: Set[str]) -> list[tuple[str, Event]]:
        """What happens to the calls that memory knows; one look at each, however many were revoked."""
        ends: list[tuple[str, Event]] = []
        for key, stored in self.arbiter.known.items():
            call = stored.call
            if call.over:
                continue
            identity = call.identity
            if people & {(identity.feature, identity.caller), (identity.feature, identity.callee)}:
                ends.append((key, Finished(Reason.GRANT_ENDED)))
            elif devices:
                ends.extend((key, Gone(device)) for device in _devices(call) if device in devices)
        return ends

    async def _end_all(self, ends: Sequence[tuple[str, Event]], devices: Set[str]) -> None:
        """The calls end; what waits for devices that were revoked goes afterwards, so that nothing comes after it."""
        for at in range(0, len(ends), AT_ONCE):
            await asyncio.gather(*(self._end(call, event) for call, event in ends[at : at + AT_ONCE]))
        for device in devices:
            try:
                await self.store.drop_inbox(device)
            except StoreAway:
                log.warning("inbox.not_dropped", device=device)

    async def _end(self, call: str, event: Event) -> None:
        try:
            await self.arbiter.apply(call, event)
        except (StoreAway, Refusal):
            log.warning("call.not_ended", call=call)


def _devices(call: Call) -> tuple[str, ...]:
    return (call.identity.caller_device, *(leg.device for leg in call.legs))
