"""Where requests for decisions are answered without Django: who asks, and about whom."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from aiohttp import web

from controlplane.refusal import NotAllowed, NotAuthenticated, TooMany
from rollout.feed import Feed, merge
from rollout.limits import BACKEND_DECISIONS_PER_SECOND, PHONE_DECISIONS_PER_SECOND
from rollout.pace import Pace
from rollout.party import BearerToken, party_of_context, party_of_row, party_of_token
from rollout.rules.decision import Party, Ruleset
from rollout.ruleset import Rulesets

CACHE_SECONDS = 5.0
MOST_CACHED = 20_000
KEY_PREFIX = "rk_"


class Desk(Protocol):
    """What the process that serves decisions must offer.

    `read_token` verifies a phone's access token and raises `NotAuthenticated`. `read_party` and `read_invites` run
    `SELECT rollout_party(%s)` and `SELECT rollout_invites_left(%s)`, and raise `TryAgain` when PostgreSQL is away.
    """

    rulesets: Rulesets
    feed: Feed

    @property
    def allowed_origins(self) -> tuple[str, ...]: ...
    def read_token(self, raw: str) -> BearerToken: ...
    async def read_party(self, subscriber: str) -> Mapping[str, Any] | None: ...
    async def read_invites(self, subscriber: str) -> Mapping[str, Any] | None: ...
    def now(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a phone with its token, or a backend with its key (then `token` is None)."""

    name: str
    token: BearerToken | None

    def may_see(self, ruleset: Ruleset, feature: str) -> bool:
        """Phones see only what is announced to them; everything else looks unknown."""
        compiled = ruleset.features.get(feature)
        return compiled is not None and (self.token is None or compiled.feature.visible_to_phones)


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


class Counter:
    """Authenticates callers and finds the party that they ask about."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._parties = Remembered()
        self._invites = Remembered()
        self._phones = Pace(PHONE_DECISIONS_PER_SECOND, burst=5 * PHONE_DECISIONS_PER_SECOND)
        self._backends = Pace(BACKEND_DECISIONS_PER_SECOND, burst=BACKEND_DECISIONS_PER_SECOND)

    def caller(self, request: web.Request) -> Caller:
        """Raises `NotAuthenticated`, `NotAllowed` (a key without the scope `evaluate`) or `TooMany`."""
        scheme, _, raw = request.headers.get("Authorization", "").partition(" ")
        raw = request.headers.get("X-API-Key") or (raw.strip() if scheme.lower() == "bearer" else "")
        if not raw or len(raw) > 16_384:
            raise NotAuthenticated("Send an access token or an API key: Authorization: Bearer …, or X-API-Key.")
        if raw.startswith(KEY_PREFIX):
            caller = self._backend(raw)
            wait = self._backends.take(caller.name, self.desk.now().timestamp())
        else:
            token = self.desk.read_token(raw)
            if self.desk.feed.is_revoked(token.device):
                raise NotAuthenticated("This device was signed out. Sign in again.")
            caller = Caller(f"subscriber:{token.subscriber}", token)
            wait = self._phones.take(caller.name, self.desk.now().timestamp())
        if wait:
            raise TooMany(f"Too many decisions were asked for. Try again in {wait} s.", retry_after=wait)
        return caller

    def _backend(self, raw: str) -> Caller:
        key = self.desk.rulesets.current.api_keys.get(hashlib.sha256(raw.encode()).hexdigest())
        now = self.desk.now().timestamp() * 1000
        if key is None or (key.expires_at is not None and key.expires_at <= now):
            raise NotAuthenticated("This API key is unknown, expired or revoked. Ask an operator for one.")
        if "evaluate" not in key.scopes:
            raise NotAllowed("This API key lacks the scope evaluate. Ask an operator for one that has it.")
        return Caller(f"key:{key.id}", None)

    async def party(self, caller: Caller, context: Mapping[str, Any]) -> Party:
        """The bearer of a phone's token, from memory; for a backend whoever its `targetingKey` names.

        A subscriber's id is looked up (≤ 5 s old); raises `TryAgain` when that can't be done. Any other key, or none,
        is somebody unknown, decided by the context alone.
        """
        if caller.token is not None:
            return party_of_token(caller.token, self.desk.feed, context)
        unit = context.get("targetingKey") or ""
        try:
            subscriber = str(UUID(unit))
        except ValueError:
            return party_of_context(unit, context)
        read_at, row = await self._read_party(subscriber)
        if row is None:
            return party_of_context(unit, context)
        party = party_of_row(row, context)
        facts = self.desk.feed.facts_for(subscriber, read_at)
        return Party(party.subscriber, party.traits, merge(party.grants, facts)) if facts else party

    async def _read_party(self, subscriber: str) -> tuple[float, Mapping[str, Any] | None]:
        now = self.desk.now().timestamp()
        found = self._parties.get(subscriber, now)
        if found is None:
            found = (now, await self.desk.read_party(subscriber))
            self._parties.put(subscriber, *found)
        return found

    async def invites(self, subscriber: str) -> Mapping[str, Any]:
        """What the person may still give away, by feature (≤ 5 s old). Raises `TryAgain` without PostgreSQL."""
        now = self.desk.now().timestamp()
        found = self._invites.get(subscriber, now)
        if found is None:
            found = (now, await self.desk.read_invites(subscriber))
            self._invites.put(subscriber, *found)
        return found[1] or {}
