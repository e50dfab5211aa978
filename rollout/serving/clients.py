"""Who asks for decisions without Django, about whom, and how often."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from aiohttp import web

from controlplane.base.refusal import NotAllowed, NotAuthenticated, TooMany, TryAgain
from rollout.rules.decision.decision import ApiKeyFact, Party, Ruleset
from rollout.rules.limits import BACKEND_DECISIONS_PER_SECOND, PHONE_DECISIONS_PER_SECOND
from rollout.serving.context import BadContext, Context
from rollout.serving.feed import merge
from rollout.serving.pace import Pace
from rollout.serving.party import BearerToken, party_of_context, party_of_row, party_of_token
from rollout.serving.ruleset import NUMBER
from rollout.serving.server import Server

CACHE_SECONDS = 5.0
MOST_CACHED = 20_000
KEY_PREFIX = "rk_"
AT_LEAST = "Rollcall-Ruleset-Min"  # the request's header: no older ruleset may decide
PATIENCE = 1.0  # seconds to wait for it


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks: a phone with its token, or a backend with its key (then `token` is None and `key` its id)."""

    name: str
    token: BearerToken | None
    key: str = ""
    credential: str = field(default="", repr=False)

    def asks_about(self, context: Context) -> str:
        """The subscriber of a phone's token; for a backend whomever the context names, an id in its usual form."""
        if self.token is not None:
            return self.token.subscriber
        try:
            return str(UUID(context.unit))
        except ValueError:
            return context.unit

    def may_see(self, ruleset: Ruleset, feature: str) -> bool:
        """Phones see only what is announced to them; everything else looks unknown."""
        compiled = ruleset.features.get(feature)
        return compiled is not None and (self.token is None or compiled.feature.visible_to_phones)


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a decision is about, before it is put together.

    With the same context, two of equal `mark` build equal parties. `strange` is true when a backend's targeting key is
    nobody's id.
    """

    subscriber: str
    mark: Hashable
    build: Callable[[], Party]
    strange: bool = False


class Remembered:
    """Answers of PostgreSQL, each for at most five seconds."""

    def __init__(self) -> None:
        self._rows: OrderedDict[str, tuple[float, Mapping[str, Any] | None]] = OrderedDict()

    def get(self, key: str, now: float) -> tuple[float, Mapping[str, Any] | None] | None:
        found = self._rows.get(key)
        return found if found is not None and now - CACHE_SECONDS <= found[0] <= now else None

    def put(self, key: str, now: float, row: Mapping[str, Any] | None) -> None:
        self._rows[key] = (now, row)
        self._rows.move_to_end(key)
        if len(self._rows) > MOST_CACHED:
            self._rows.popitem(last=False)


def credential(request: web.Request) -> str:
    """The access token or API key of a request. Raises `NotAuthenticated`."""
    raw = request.headers.get("X-API-Key", "")
    if not raw:
        scheme, _, raw = request.headers.get("Authorization", "").partition(" ")
        raw = raw.strip() if scheme.lower() == "bearer" else ""
    if not raw or len(raw) > 16_384:
        raise NotAuthenticated("Send an access token or an API key: Authorization: Bearer …, or X-API-Key.")
    return raw


def key_of(ruleset: Ruleset, raw: str, now: float, *scopes: str) -> ApiKeyFact:
    """The API key with this text, if it has one of the scopes. Raises `NotAuthenticated` or `NotAllowed`."""
    digest = hashlib.sha256(raw.encode(errors="surrogateescape")).hexdigest()
    key = ruleset.api_keys.get(digest)
    if key is None or (key.expires_at is not None and key.expires_at <= now * 1000):
        raise NotAuthenticated("This API key is unknown, expired or revoked. Ask an operator for one.")
    if not set(scopes) & set(key.scopes):
        raise NotAllowed(f"This API key lacks the scope {scopes[0]}. Ask an operator for one that has it.")
    return key


class Clients:
    """Authenticates clients and finds the party that they ask about."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._parties = Remembered()
        self._invites = Remembered()
        self._phones = Pace(PHONE_DECISIONS_PER_SECOND, burst=5 * PHONE_DECISIONS_PER_SECOND)
        self._news = asyncio.Event()
        server.rulesets.listeners.append(lambda old, new: self._woken())
        self._backends = Pace(BACKEND_DECISIONS_PER_SECOND, burst=BACKEND_DECISIONS_PER_SECOND)

    def client(self, request: web.Request) -> Client:
        """Raises `NotAuthenticated`, `NotAllowed` (a key without the scope `evaluate`) or `TooMany`."""
        raw = credential(request)
        now = self.server.now().timestamp()
        if raw.startswith(KEY_PREFIX):
            key = key_of(self.server.rulesets.current, raw, now, "evaluate")
            client = Client(f"key:{key.id}", None, key.id)
            wait = self._backends.take(client.name, now)
        else:
            token = self.server.read_token(raw)
            if self.server.feed.is_revoked(token.device):
                raise NotAuthenticated("This device was signed out. Sign in again.")
            client = Client(f"subscriber:{token.subscriber}", token, credential=raw)
            wait = self._phones.take(client.name, now)
        if wait:
            raise TooMany(f"Too many decisions were asked for. Try again in {wait} s.", retry_after=wait)
        return client

    async def target(self, client: Client, context: Context) -> Target:
        """The bearer of a phone's token, from memory; for a backend whoever its `targetingKey` names.

        A subscriber's id is looked up (≤ 5 s old); raises `TryAgain` when that can't be done. Any other key, or none,
        is somebody unknown, decided by the context alone.
        """
        feed, members = self.server.feed, context.members
        token = client.token
        if token is not None:
            happened = tuple(row.id for row in feed.facts_for(token.subscriber, token.issued_at))
            mark: Hashable = (client.credential, happened)
            return Target(token.subscriber, mark, lambda: party_of_token(token, feed, members))
        subscriber = client.asks_about(context)
        read_at, row = await self._read_party(subscriber) if _is_id(subscriber) else (0.0, None)
        if row is None:
            unit = context.unit
            return Target(subscriber, client.name, lambda: party_of_context(unit, members), strange=bool(unit))
        facts = feed.facts_for(subscriber, read_at)
        mark = (client.name, read_at, tuple(fact.id for fact in facts))

        def build() -> Party:
            party = party_of_row(row, members)
            return Party(party.subscriber, party.traits, merge(party.grants, facts)) if facts else party

        return Target(subscriber, mark, build)

    async def await_ruleset(self, request: web.Request) -> None:
        """The ruleset that the request asks for, or a newer one, decides here. Raises `BadContext`, and `TryAgain` when
        it hasn't arrived within a second.
        """
        raw = request.headers.get(AT_LEAST)
        if raw is None:
            return
        if not (raw.isascii() and raw.isdigit() and len(raw) <= 16):
            raise BadContext(f"{AT_LEAST} must be a ruleset's number, as the header {NUMBER} of an answer gives it.")
        rulesets, least = self.server.rulesets, int(raw)
        if rulesets.current.version < least:
            self.server.nudge()
            try:
                async with asyncio.timeout(PATIENCE):
                    while rulesets.current.version < least:
                        await self._news.wait()
            except TimeoutError as error:
                late = f"Ruleset {least} hasn't arrived here yet; {rulesets.current.version} is the newest."
                raise TryAgain(f"{late} Try again in a moment.", retry_after=1) from error

    def _woken(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _read_party(self, subscriber: str) -> tuple[float, Mapping[str, Any] | None]:
        now = self.server.now().timestamp()
        found = self._parties.get(subscriber, now)
        if found is None:
            found = (now, await self.server.read_party(subscriber))
            self._parties.put(subscriber, *found)
        return found

    async def invites(self, subscriber: str) -> Mapping[str, Any]:
        """What the person may still give away, by feature (≤ 5 s old). Raises `TryAgain` without PostgreSQL."""
        now = self.server.now().timestamp()
        found = self._invites.get(subscriber, now)
        if found is None:
            found = (now, await self.server.read_invites(subscriber))
            self._invites.put(subscriber, *found)
        return found[1] or {}


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
