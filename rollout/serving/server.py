"""What a process that answers requests for decisions must offer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

from rollout.serving.feed import Feed, FeedRow
from rollout.serving.party import BearerToken
from rollout.serving.ruleset import Rulesets


class Server(Protocol):
    """What the process that serves decisions must offer.

    `read_token` verifies a phone's access token and raises `NotAuthenticated`; `grace` is how long (s) past its end one
    is honoured. `read_party` and `read_invites` ask `rollout_people` and `rollout_invites_left`, and raise `TryAgain`
    when PostgreSQL is away.
    `nudge` looks for news at once; listeners in `on_feed` are called with new rows that `feed` already holds.
    `stream_key` is 32 bytes, the same in every process.
    """

    rulesets: Rulesets
    feed: Feed

    @property
    def allowed_origins(self) -> tuple[str, ...]: ...
    @property
    def public_url(self) -> str: ...
    @property
    def stream_key(self) -> bytes: ...
    @property
    def on_feed(self) -> list[Callable[[list[FeedRow]], None]]: ...
    def nudge(self) -> None: ...
    def read_token(self, raw: str) -> BearerToken: ...
    def grace(self) -> int: ...
    async def read_party(self, subscriber: str) -> Mapping[str, Any] | None: ...
    async def read_invites(self, subscriber: str) -> Mapping[str, Any] | None: ...
    def now(self) -> datetime: ...
