"""Everything that the edge keeps in Redis: calls, inboxes, deadlines, places, epoch. Redis may be empty at any moment.

No command takes longer than `PATIENCE`: a silent Redis is `StoreAway`, and after two silences in a row the next ones
fail at once for a moment, so that nobody queues up behind it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from nacl.encoding import Base64Encoder
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from calls.rules.call import Call, State, Tell

from .record import call_from_json, call_to_json

FOLDER = Path(__file__).parent
PATIENCE = 0.1
OWN_DELAY = 0.01
WARM = 4
REST_AFTER_SILENCE = 0.5
SILENCES = 2
ENDED_TTL_MS = 120_000
LIVE_MARGIN_MS = 600_000
WHERE_SECONDS = 86_400
MOST_EVENTS = 256
SEEN_SECONDS = 300
SEEN_GRANT_SECONDS = 86_400


class StoreAway(Exception):
    """Redis gave no answer in time."""


@dataclass(frozen=True, slots=True)
class Stored:
    call: Call
    version: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One event in an inbox: its number, when it was put there (ms), and its JSON without the number."""

    seq: int
    at: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Committed:
    """`how`: ok (the new version), race (read again), pair (an older call of the two people), again (stored answer)."""

    how: str
    value: str


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to keep beside the step, so that the same request gets the same answer on any edge."""

    key: str
    said: bytes


@dataclass(frozen=True, slots=True)
class Attached:
    old: str
    seq: int
    lowest: int
    entries: tuple[Entry, ...]


def lua(name: str) -> str:
    text = (FOLDER / f"{name}.lua").read_text(encoding="utf-8")
    return (FOLDER / "tell.lua").read_text(encoding="utf-8") + text if name in ("commit", "append") else text


def read_entries(raws: Iterable[bytes], box: SecretBox) -> tuple[Entry, ...]:
    """What was sealed for inboxes, opened. What another secret sealed can't be read any more, and is left out."""
    entries = []
    for raw in raws:
        seq, at, sealed = raw.split(b"\n", 2)
        try:
            entries.append(Entry(int(seq), int(at), box.decrypt(sealed, encoder=Base64Encoder)))
        except (CryptoError, ValueError):
            continue
    return tuple(entries)


def event_json(tell: Tell, box: SecretBox) -> dict[str, Any]:
    """An event as the scripts take it; sealed, since it says who calls from which number, and may wait for months."""
    body = orjson.dumps({"t": tell.type, **tell.body})
    ttl = SEEN_GRANT_SECONDS if tell.type == "grant" else SEEN_SECONDS
    return {
        "device": tell.device,
        "key": tell.key,
        "body": box.encrypt(body, encoder=Base64Encoder).decode(),
        "ttl": ttl,
    }


def pair_key(one: str, other: str) -> str:
    return "rc:pair:" + "|".join(sorted((one, other)))


class Store:
    """`box` seals what waits in inboxes."""

    def __init__(self, url: str, edge: str, box: SecretBox) -> None:
        pool = BlockingConnectionPool.from_url(
            url, max_connections=32, timeout=PATIENCE, socket_connect_timeout=PATIENCE * 5, retry=Retry(NoBackoff(), 0)
        )
        self.redis: Redis = Redis(connection_pool=pool)
        self.url = url
        self.edge = edge
        self.box = box
        self.known_epoch = ""  # as this edge saw it last
        self.away_since: float | None = None
        self._rest_until = 0.0
        self._silences = 0
        self._scripts = {
            name: self.redis.register_script(lua(name))
            for name in ("commit", "append", "attach", "detach", "trim", "sweep", "limit", "keep")
        }

    async def run(self, command: Awaitable[Any]) -> Any:
        """The command's answer, or `StoreAway` within 100 ms."""
        if time.monotonic() < self._rest_until:
            if asyncio.iscoroutine(command):
                command.close()
            raise StoreAway
        task = asyncio.ensure_future(command)
        started = time.monotonic()
        done, _ = await asyncio.wait({task}, timeout=PATIENCE)
        if not done and time.monotonic() - started > PATIENCE + OWN_DELAY:
            # It was we who were late, not Redis: whatever it said may still wait to be read.
            done, _ = await asyncio.wait({task}, timeout=PATIENCE)
        if not done:
            task.cancel()
            task.add_done_callback(_forget_outcome)
            raise self._silent()
        try:
            answer = task.result()
        except (RedisError, OSError) as error:
            raise self._silent() from error
        self.away_since = None
        self._silences = 0
        return answer

    def _silent(self) -> StoreAway:
        now = time.monotonic()
        self.away_since = self.away_since or now
        self._silences += 1
        if self._silences >= SILENCES:  # one late answer on a busy machine is no outage
            self._rest_until = now + REST_AFTER_SILENCE
        return StoreAway()

    async def script(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        return await self.run(self._scripts[name](keys=list(keys), args=list(args)))

    async def warm(self) -> None:
        """Some connections are open afterwards, so that the first requests needn't wait for them."""
        await asyncio.gather(*(self.run(self.redis.ping()) for _ in range(WARM)))

    async def epoch(self) -> str:
        """What this Redis was called when it was last empty; made when there is none."""
        await self.run(self.redis.set("rc:epoch", secrets.token_hex(6), nx=True))
        return (await self.run(self.redis.get("rc:epoch")) or b"").decode()

    async def time(self) -> int:
        """Redis's clock, in epoch milliseconds."""
        seconds, microseconds = await self.run(self.redis.time())
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def load(self, call: str) -> Stored | None:
        version, raw = await self.run(self.redis.hmget(f"rc:call:{call}", ["v", "s"]))
        return Stored(call_from_json(raw), int(version)) if raw else None

    async def commit(
        self, before: Stored | None, after: Call, tells: Sequence[Tell], now_ms: int, reply: Reply | None = None
    ) -> Committed:
        """Move the call from the version that was read, with its events, or change nothing."""
        live = after.state is not State.ENDED
        wanted: dict[str, Any] = {
            "id": after.id,
            "expect": before.version if before else 0,
            "area": after.identity.area,
            "live": live,
            "deadline": after.deadline,
            "ttl": max(0, after.deadline - now_ms) + LIVE_MARGIN_MS if live else ENDED_TTL_MS,
            "pair": pair_key(after.identity.caller, after.identity.callee),
            "tell": [event_json(tell, self.box) for tell in tells],
        }
        if before is None or after is not before.call:
            wanted["record"] = call_to_json(after).decode()
        if reply:
            wanted["reply"] = {"key": reply.key, "said": reply.said.decode(), "ttl": SEEN_SECONDS}
        how, value = await self.script("commit", [f"rc:call:{after.id}"], [orjson.dumps(wanted), now_ms])
        return Committed(how.decode(), value.decode())

    async def tell(self, tells: Sequence[Tell], now_ms: int) -> None:
        await self.script(
            "append", [], [orjson.dumps({"tell": [event_json(tell, self.box) for tell in tells]}), now_ms]
        )

    async def attach(self, device: str, session: str, last_seq: int) -> Attached:
        keys = [f"rc:where:{device}", f"rc:seq:{device}", f"rc:inbox:{device}"]
        old, seq, lowest, *entries = await self.script(
            "attach", keys, [f"{self.edge}|{session}", last_seq, WHERE_SECONDS, MOST_EVENTS]
        )
        return Attached(old.decode(), int(seq), int(lowest), read_entries(entries, self.box))

    async def detach(self, device: str, session: str) -> None:
        await self.script("detach", [f"rc:where:{device}"], [f"{self.edge}|{session}"])

    async def place(self, device: str) -> None:
        """Doorbells of a device without a socket come here while it waits by long poll."""
        await self.run(self.redis.set(f"rc:where:{device}", f"{self.edge}|poll", ex=60, nx=True))

    async def trim(self, device: str, seq: int) -> None:
        await self.script("trim", [f"rc:inbox:{device}"], [seq, self.known_epoch])

    async def drop_inbox(self, device: str) -> None:
        """What waited for a device that was revoked is gone."""
        await self.run(self.redis.delete(f"rc:inbox:{device}", f"rc:where:{device}"))

    async def fetch(self, device: str, after: int) -> tuple[Entry, ...]:
        raw = await self.run(self.redis.lrange(f"rc:inbox:{device}", -MOST_EVENTS, -1))
        return tuple(entry for entry in read_entries(raw, self.box) if entry.seq > after)

    async def skip(self, device: str, count: int) -> int:
        """Numbers that were given to events outside the inbox are used up; the counter afterwards."""
        return int(await self.run(self.redis.incrby(f"rc:seq:{device}", count)))

    async def due(self, now_ms: int, lease_ms: int = 2000, most: int = 64) -> list[str]:
        return [call.decode() for call in await self.script("sweep", ["rc:deadlines"], [now_ms, lease_ms, most])]

    async def reschedule(self, call: str, deadline: int) -> None:
        """A claimed call that was not due after all (it gave a sign of life meanwhile)."""
        await self.run(self.redis.zadd("rc:deadlines", {call: deadline}, xx=True))

    async def forget(self, call: str, areas: Sequence[str]) -> None:
        """A call without a record leaves the deadlines and the live sets."""
        async with self.redis.pipeline(transaction=False) as pipe:
            pipe.zrem("rc:deadlines", call)
            for area in areas:
                pipe.zrem(f"rc:live:{area}", call)
            await self.run(pipe.execute())

    async def areas(self) -> list[str]:
        return [area.decode() for area in await self.run(self.redis.smembers("rc:areas"))]

    async def live(self, area: str) -> list[str]:
        return [call.decode() for call in await self.run(self.redis.zrange(f"rc:live:{area}", 0, -1))]

    async def pair(self, one: str, other: str) -> str | None:
        older = await self.run(self.redis.get(pair_key(one, other)))
        return older.decode() if older else None

    async def unpair(self, one: str, other: str, call: str) -> None:
        """A lock whose call is over goes, unless another call holds it by now."""
        await self.script("detach", [pair_key(one, other)], [call])

    async def answer(self, key: str) -> bytes | None:
        said: bytes | None = await self.run(self.redis.get(key))
        return said

    async def ring(self, edge: str, message: str) -> None:
        await self.run(self.redis.publish(f"rc:bell:{edge}", message))

    async def report(self, report: Mapping[str, Any], stale_ms: int) -> None:
        """Tell this edge's load; reports of edges that have been gone for long are taken away."""
        await self.run(self.redis.hset("rc:edges", self.edge, orjson.dumps(report).decode()))
        for edge, raw in (await self.run(self.redis.hgetall("rc:edges"))).items():
            if _reported_at(raw) < report["at"] - stale_ms:
                await self.run(self.redis.hdel("rc:edges", edge))

    async def sign_off(self) -> None:
        await self.run(self.redis.hdel("rc:edges", self.edge))

    async def settle_down(self, places: Mapping[str, str]) -> None:
        """Note again where sockets are (device → session), after Redis came back empty."""
        async with self.redis.pipeline(transaction=False) as pipe:
            for device, session in places.items():
                pipe.set(f"rc:where:{device}", f"{self.edge}|{session}", ex=WHERE_SECONDS)
            await self.run(pipe.execute())

    async def keep_places(self, places: Mapping[str, str]) -> dict[str, str]:
        """Who has the place of each socket (device → session), as "edge|session"; "" for a lost one, ours again."""
        keys = [f"rc:where:{device}" for device in places]
        held = await self.script("keep", keys, [self.edge, WHERE_SECONDS, *places.values()])
        return {device: holder.decode() for device, holder in zip(places, held, strict=True)}

    async def close(self) -> None:
        await self.redis.aclose()


def _reported_at(raw: bytes) -> float:
    """When an edge reported (ms); 0 for what can't be read."""
    try:
        at = orjson.loads(raw).get("at", 0)
    except (orjson.JSONDecodeError, AttributeError):
        return 0
    return at if isinstance(at, int | float) else 0


def _forget_outcome(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()
