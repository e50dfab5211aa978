"""How a process without Django learns of news: by a doorbell in Redis, and, should that be silent, from PostgreSQL.

Plain Python. Both stores may be away for any time: the process goes on with what it has, and catches up afterwards.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol

import structlog
from psycopg import AsyncConnection

from rollout.serving.background import release, run_paced
from rollout.serving.feed import KINDS, OVERLAP, Feed, FeedRow, feed_rows
from rollout.serving.ruleset import NEWEST, Ruleset, Rulesets, Signed

log = structlog.get_logger(__name__)

Connect = Callable[[], Awaitable[AsyncConnection[Any]]]

CHANNELS = ("rc:ruleset", "rc:feed")
DEADLINE = 4.0  # seconds for one look at PostgreSQL
LATE = 1.0  # seconds that a look may take on a busy machine before its news counts as old
LONGEST_PAUSE = 2.0  # seconds between tries while a store is away
SAVE_PAUSE = 10.0  # seconds between two snapshots of the feed
PAGE = 5_000
CANCELLINGS = 20

RULESET = "SELECT version, body, signature FROM rollout_ruleset WHERE version = %s"
FEED = "SELECT id, kind, payload, extract(epoch FROM created_at)::float8 FROM outbox_outbox WHERE kind = ANY(%s)"
SINCE = FEED + " AND created_at > now() - make_interval(secs => %s) AND id <= %s ORDER BY id LIMIT 50000"
AFTER = FEED + " AND id > %s AND created_at > now() - make_interval(secs => %s) ORDER BY id LIMIT %s"


class Knobs(Protocol):
    @property
    def poll_seconds(self) -> float: ...
    @property
    def state(self) -> Path: ...


async def swap_in_background(rulesets: Rulesets, signed: Signed) -> bool:
    """Load in a thread and install on the event loop, which goes on serving; False when it is refused."""
    ruleset = await asyncio.to_thread(run_paced, rulesets.prepare_by_steps(signed))
    if ruleset is None:
        return False
    log.info("ruleset.swapped", version=ruleset.version, was=rulesets.current.version)
    outgoing: list[Any] = list(rulesets.current.features.values())
    rulesets.install(ruleset)
    await asyncio.to_thread(release, outgoing)  # freed at once, a large one would stop every request for 20 ms
    return True


class Watcher:
    """Keeps `rulesets` and `feed` up to date while `run()` runs.

    `on_ruleset` are called with the old and the new ruleset, `on_feed` with the new rows; both on the event loop.
    `connect` gives an autocommit connection; `redis` is a `redis.asyncio.Redis`, or None for none.
    """

    def __init__(self, env: Knobs, rulesets: Rulesets, feed: Feed, connect: Connect, redis: Any | None) -> None:
        self.on_ruleset: list[Callable[[Ruleset, Ruleset], None]] = rulesets.listeners
        self.on_feed: list[Callable[[list[FeedRow]], None]] = []
        self.seen_at: float | None = None  # monotonic seconds when the last complete look began
        self.database_away = False  # whether the last look failed
        self._looked = asyncio.Event()  # set when the look that is under way or comes next has ended, then replaced
        self._poll_seconds = env.poll_seconds
        self._feed_file = env.state / "feed.json"
        self._rulesets = rulesets
        self._feed = feed
        self._connect = connect
        self._redis = redis
        self._connection: AsyncConnection[Any] | None = None
        self._wake = asyncio.Event()
        self._abandoned: set[asyncio.Task[Any]] = set()
        self._saved_at = 0.0

    @property
    def behind(self) -> float | None:
        """Seconds since the last complete look at PostgreSQL began; None before the first."""
        return None if self.seen_at is None else time.monotonic() - self.seen_at

    def nudge(self) -> None:
        """Look at once."""
        self._wake.set()

    async def catch_up(self, within: float) -> None:
        """What stood in PostgreSQL a moment ago is known here, unless PostgreSQL gave no answer `within` (s).

        At once, except in a process that slept or was held up: news may have come that it hasn't looked for yet.
        """
        try:
            async with asyncio.timeout(within):
                while self.behind is not None and self.behind > 2 * self._poll_seconds + LATE:
                    self.nudge()
                    await self._looked.wait()
        except TimeoutError:
            pass

    async def run(self) -> None:
        """Until cancelled. Starts from the disk, so that decisions are there before PostgreSQL is."""
        if self._rulesets.start_from_disk():
            log.info("ruleset.started_from_disk", version=self._rulesets.current.version)
        self._feed.restore(self._feed_file)
        listening = asyncio.create_task(self._listen(), name="doorbell")
        try:
            await self._poll()
        finally:
            await _end({listening, *self._abandoned})
            if self._connection is not None:
                self._connection.pgconn.finish()

    async def _poll(self) -> None:
        pause = self._poll_seconds
        while True:
            self._wake.clear()
            try:
                await self._within(self.look(), DEADLINE)
                self.database_away = False
                pause = self._poll_seconds
            except Exception as error:
                self.database_away = True
                if pause == self._poll_seconds:
                    log.warning("watch.database_away", error=type(error).__name__)
                self._drop()
                pause = min(max(pause * 2, 0.1), max(LONGEST_PAUSE, self._poll_seconds))
            self._looked.set()
            self._looked = asyncio.Event()
            await self._save_feed()
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def look(self) -> None:
        """One complete look. Raises whatever the connection raises."""
        begun = time.monotonic()
        if self._connection is None or self._connection.closed:
            self._connection = await self._connect()
        connection = self._connection
        await self._look_at_rulesets(connection)
        await self._look_at_feed(connection)
        self.seen_at = begun

    async def _look_at_rulesets(self, connection: AsyncConnection[Any]) -> None:
        for _ in range(3):  # a refused one makes way for the next best
            found = await (await connection.execute(NEWEST, self._rulesets.refused_ones())).fetchone()
            if found is None or self._rulesets.holds(found[0], bytes(found[1])):
                return
            row = await (await connection.execute(RULESET, [found[0]])).fetchone()
            if row is None:
                return
            signed = Signed(row[0], bytes(row[1]), bytes(row[2]))
            if not await swap_in_background(self._rulesets, signed):
                log.error("ruleset.refused", why=self._rulesets.last_refusal, refused=self._rulesets.refused)
                continue
            await self._save_ruleset(signed)
            return

    async def _save_ruleset(self, signed: Signed) -> None:
        try:
            await asyncio.to_thread(self._rulesets.save, signed)
        except OSError as error:
            log.error("ruleset.not_saved", error=str(error), advice="Free some disk, or check the data folder's owner.")

    async def _look_at_feed(self, connection: AsyncConnection[Any]) -> None:
        feed = self._feed
        rows = await self._rows(connection, SINCE, [list(KINDS), OVERLAP, feed.last_id])
        while True:
            page = await self._rows(connection, AFTER, [list(KINDS), feed.last_id, feed.keep, PAGE])
            fresh = feed.add(rows + page)
            if fresh:
                self._tell(fresh)
            rows = []
            if len(page) < PAGE:
                break
        feed.forget(time.time())

    async def _rows(self, connection: AsyncConnection[Any], sql: str, args: list[Any]) -> list[FeedRow]:
        cursor = await connection.execute(sql, args)
        return [each for row in await cursor.fetchall() for each in feed_rows(*row)]

    def _tell(self, fresh: list[FeedRow]) -> None:
        for listener in self.on_feed:
            try:
                listener(fresh)
            except Exception as error:
                log.error("feed.listener_failed", error=repr(error))

    async def _save_feed(self) -> None:
        if not self._feed.changed or time.monotonic() - self._saved_at < SAVE_PAUSE:
            return
        self._saved_at = time.monotonic()
        try:
            await asyncio.to_thread(self._feed.save, self._feed_file)
        except (OSError, RuntimeError) as error:
            log.error("feed.not_saved", error=str(error))

    async def _within(self, work: Coroutine[Any, Any, None], seconds: float) -> None:
        """Like `wait_for`, but doesn't wait for the cancelling: a server that hangs would hold that too."""
        task = asyncio.create_task(work)
        try:
            done, _ = await asyncio.wait({task}, timeout=seconds)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if not done:
            self._abandoned.add(task)
            task.add_done_callback(self._forget)
            task.cancel()
            raise TimeoutError
        task.result()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._abandoned.discard(task)
        if not task.cancelled():
            task.exception()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.pgconn.finish()

    async def _listen(self) -> None:
        """Rings of the doorbell become nudges. While Redis is away, the poll alone finds the news."""
        if self._redis is None:
            return
        pause = 0.2
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as bell:
                    await bell.subscribe(*CHANNELS)
                    self.nudge()
                    pause = 0.2
                    async for _ in bell.listen():
                        self.nudge()
            except Exception as error:
                log.warning("watch.redis_away", error=type(error).__name__)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)


async def _end(tasks: set[asyncio.Task[Any]]) -> None:
    """They are cancelled afterwards. Once isn't enough: the client of Redis may take a cancelling for its own."""
    for _ in range(CANCELLINGS):
        tasks = {task for task in tasks if not task.done()}
        if not tasks:
            return
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=0.1)
