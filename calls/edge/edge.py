"""One edge, put together: its stores, the calls, the sockets, and what answers requests for decisions."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Collection, Coroutine, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog
from psycopg import AsyncConnection
from redis.asyncio import Redis

from calls.rules.call import Timers
from controlplane.base.env import Env
from controlplane.base.keys import Keys
from controlplane.base.locations import database_url, probe_name, redis_url
from rollout.serving.feed import OVERLAP, Feed, FeedRow
from rollout.serving.ruleset import Rulesets
from rollout.serving.watch import Watcher

from .answers import Answers
from .arbiter import Arbiter
from .clock import Clock
from .database import Database
from .errors import signed_out
from .forward import Forward
from .gate import Gate
from .inbox import Inboxes
from .journal import Journal
from .limits import Limits
from .metrics import Metrics
from .operations import Operations
from .pages import Pages
from .placing import Placing
from .report import Report, watch_lag
from .rest import Rest
from .sockets import Sockets
from .store import Store, StoreAway
from .tokens import Token, Tokens
from .watch import Watch

SNAPSHOT = "ruleset.snapshot"
FIRST_EPOCH_TRIES = 10  # 2 s: without Redis decisions must be there soon
PAUSE_SECONDS = 1.0
STOP_TRIES = 3
log = structlog.get_logger("edge")


def timers_of(env: Env) -> Timers:
    return Timers(
        route=round(env.route_seconds * 1000),
        ring=round(env.ring_seconds * 1000),
        setup=round(env.setup_seconds * 1000),
        accepting=round(env.accepting_seconds * 1000),
        alive=round(env.alive_seconds * 1000),
    )


def origins_of(env: Env) -> frozenset[str]:
    """Pages that may open a signaling socket: our own, and those that the deployment names."""
    own = {env.public_url}
    if env.host in ("127.0.0.1", "localhost", "::1"):
        own |= {f"http://127.0.0.1:{env.port}", f"http://localhost:{env.port}"}
    return frozenset(own | {origin.rstrip("/") for origin in env.allowed_origins})


class Edge:
    """Also the server of `rollout.serving.server`: it says who asks and reads what decisions need."""

    def __init__(self, env: Env, *, name: str | None = None) -> None:
        self.env = env
        self.keys = Keys(env.secret)
        self.name = name or f"edge-{secrets.token_hex(4)}"
        self.metrics = Metrics()
        self.rulesets = Rulesets(self.keys.ruleset.verify_key, env.state / SNAPSHOT)
        self.feed = Feed(env.token_seconds + env.token_grace_seconds + OVERLAP)
        self.database = Database(database_url(env))
        self.store = Store(redis_url(env), self.name, self.keys.inbox)
        self._watcher_redis: Redis = Redis.from_url(self.store.url, socket_connect_timeout=1)
        self.watcher = Watcher(env, self.rulesets, self.feed, self._connect, self._watcher_redis)
        self.limits = Limits(self.store)
        self.journal = Journal(self.database, self.metrics, self.keys.pseudonym)
        self.clock = Clock()
        self.arbiter = Arbiter(self.store, self.database, self.journal, self.metrics, timers_of(env), self.clock)
        self.inboxes = Inboxes(self.store, self.arbiter, self.clock, self.feed.is_revoked)
        self.tokens = Tokens(self.keys.token_public, self.keys.token_key_id)
        gate = Gate(self.rulesets, self.feed, self.watcher.catch_up)
        self.placing = Placing(env, self.keys, self.arbiter, self.limits, gate)
        self.operations = Operations(self.arbiter, self.placing)
        self.answers = Answers(self.operations, self.metrics)
        web_host = "127.0.0.1" if env.host in ("0.0.0.0", "::") else env.host  # noqa: S104
        self.forward = Forward(
            f"http://{web_host}:{env.console_port}",
            self.limits,
            host=probe_name(env),
            trusted=env.trusted_proxies,
            mark=self.keys.edge_mark,
        )
        self.sockets = Sockets(
            origins=origins_of(env),
            tokens=self.tokens,
            is_revoked=self.feed.is_revoked,
            grace=self.grace,
            store=self.store,
            inboxes=self.inboxes,
            answers=self.answers,
            metrics=self.metrics,
            rates=self.limits,
        )
        self.rest = Rest(self.sockets, self.read_token, self.operations, self.answers, self.inboxes, self.limits)
        self.pages = Pages(self.arbiter, self.metrics, self.placing, env.public_url)
        self.report = Report(self.store, self.arbiter, self.inboxes, self.rulesets, env.edge_report_seconds)
        self.watch = Watch(self.store, self.arbiter, self.inboxes, self.sockets, self.placing)
        self.watcher.on_ruleset.append(self.watch.ruleset_changed)
        self.watcher.on_feed.append(self.watch.feed_changed)
        self._running: list[asyncio.Task[None]] = []

    # what requests for decisions need

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        return self.env.allowed_origins

    @property
    def public_url(self) -> str:
        return self.env.public_url

    @property
    def stream_key(self) -> bytes:
        return self.keys.stream

    @property
    def on_feed(self) -> list[Callable[[list[FeedRow]], None]]:
        return self.watcher.on_feed

    def nudge(self) -> None:
        self.watcher.nudge()

    def now(self) -> datetime:
        return datetime.now(UTC)

    def grace(self) -> int:
        """Seconds that a token is honoured past its expiry: some only while phones can't refresh theirs."""
        can_refresh = self.forward.reachable and self.database.available and not self.watcher.database_away
        return 0 if can_refresh else self.env.token_grace_seconds

    def read_token(self, raw: str) -> Token:
        token = self.tokens.read(raw, time.time(), self.grace())
        if self.feed.is_revoked(token.device):
            raise signed_out()
        return token

    async def read_party(self, subscriber: str) -> Mapping[str, Any] | None:
        row = await self.database.row("SELECT person FROM rollout_people(ARRAY[%s::uuid])", (subscriber,))
        return row[0] if row else None

    async def read_invites(self, subscriber: str) -> Mapping[str, Any] | None:
        row = await self.database.row("SELECT rollout_invites_left(%s)", (subscriber,))
        return row[0] if row else None

    # life

    async def start(self) -> None:
        """Everything runs afterwards. Redis and PostgreSQL may still be on their way up, or away."""
        await self.forward.open()
        for _ in range(FIRST_EPOCH_TRIES):
            try:
                self.store.known_epoch = await self.store.epoch()
                await self.store.warm()
                self.clock.set(await self.store.time())
                break
            except StoreAway:
                await asyncio.sleep(0.2)
        work: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "bells": self.watch.bells,
            "sweep": self.watch.sweep,
            "epochs": self.watch.epochs,
            "places": self.watch.places,
            "expiries": self.watch.expiries,
            "clock": partial(self.clock.follow, self.store),
            "journal": self.journal.run,
            "report": self.report.run,
            "lag": partial(watch_lag, self.arbiter),
            "watcher": self.watcher.run,
        }
        self._running = [asyncio.create_task(_kept_going(name, run), name=name) for name, run in work.items()]

    async def stop(self) -> None:
        """Phones are told to connect again, what waits is written, nothing of this edge stays in Redis."""
        await self.sockets.close()
        await self.arbiter.drain(2)
        await _end_all(self._running)
        self._running = []
        try:
            await asyncio.wait_for(self.journal.empty(), 2)
            await self.store.sign_off()
        except (StoreAway, TimeoutError):
            pass
        await self.forward.close()
        await self.database.close()
        await self._watcher_redis.aclose()
        await self.store.close()

    async def _connect(self) -> AsyncConnection[Any]:
        return await AsyncConnection.connect(
            self.database.url, autocommit=True, connect_timeout=2, application_name="rollcall edge watch"
        )


async def _kept_going(name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """What runs beside the requests begins anew when it fails: an edge that is deaf to one thing must not stay so."""
    while True:
        try:
            await run()
            return
        except Exception:
            this = asyncio.current_task()
            if this is not None and this.cancelling():
                return  # a library made something else of the cancelling
            log.exception("task.failed", task=name)
            await asyncio.sleep(PAUSE_SECONDS)


async def _end_all(tasks: Collection[asyncio.Task[None]]) -> None:
    """Every task has ended afterwards, also one that lost its first cancelling; never longer than a few seconds."""
    for _ in range(STOP_TRIES):
        for task in tasks:
            task.cancel()
        if not tasks or not (await asyncio.wait(tasks, timeout=PAUSE_SECONDS))[1]:
            return
    log.error("tasks.not_ended", tasks=sorted(task.get_name() for task in tasks if not task.done()))
