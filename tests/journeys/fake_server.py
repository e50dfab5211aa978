"""A process that answers OFREP with everything in memory: a ruleset, tokens, and rows that stand for PostgreSQL."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from nacl.signing import SigningKey

from controlplane.base.refusal import NotAuthenticated, TryAgain
from rollout.serving.feed import Feed, FeedRow
from rollout.serving.ruleset import Rulesets, Signed, canonical, sign

KEY = SigningKey.generate()
NOW = datetime(2015, 3, 31, 12, 0, tzinfo=UTC)
ALICE = "018f3c1e-7b1a-7c3d-9e2f-0a1b2c3d4e5f"
BOB = "018f3c1e-7b1a-7c3d-9e2f-0a1b2c3d4e60"
BACKEND = "rk_" + "b" * 40
READER = "rk_" + "r" * 40
OLD = "rk_" + "o" * 40
BULK = "/ofrep/v1/evaluate/flags"


def feature(key: str, **changes: Any) -> dict[str, Any]:
    base = {"key": key, "kind": "boolean", "salt": "s", "switch": "on", "access": "granted", "visible_to_phones": True}
    return {**base, **changes}


def api_key(raw: str, *scopes: str, expires_at: int | None = None) -> dict[str, Any]:
    digest = hashlib.sha256(raw.encode()).hexdigest()
    return {digest: {"id": raw[3:5], "name": "k", "scopes": list(scopes), "expires_at": expires_at}}


FEATURES = [
    feature("voice-calls", windows_open=True),
    feature("video-calls", switch="off"),
    feature("ratio", kind="float", access="everyone", variants={"one": 1.0}, default="one", off="one"),
    feature("secret.thing", access="everyone", visible_to_phones=False),
    feature(
        "german",
        access="rules",
        rules=[{"name": "Germans", "any_of": [[{"trait": "country", "operator": "IN", "values": ["DE"]}]]}],
    ),
]


KEYS = api_key(BACKEND, "evaluate") | api_key(READER, "read") | api_key(OLD, "evaluate", expires_at=1)


def document(version: int = 1, *features: dict[str, Any]) -> Signed:
    return signed(version, features or FEATURES)


def signed(version: int, features: Iterable[dict[str, Any]], **members: Any) -> Signed:
    """A ruleset of these features; `members` are others of its document."""
    whole = {
        "version": version,
        "published_at": 1,
        "features": {each["key"]: each for each in features},
        "api_keys": KEYS,
        **members,
    }
    body = canonical(whole)
    return Signed(version, body, sign(body, KEY))


@dataclass(frozen=True)
class Token:
    subscriber: str
    device: str = "d1"
    issued_at: int = int(NOW.timestamp())
    expires_at: int = int(NOW.timestamp()) + 900
    traits: Mapping[str, Any] = field(default_factory=lambda: {"country": "DE", "platform": "android"})
    grants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    frozen: frozenset[str] = frozenset()


GRANT = {"voice-calls": {"id": 5, "src": "operator", "depth": 0, "root": 5, "at": 1427800000}}


class FakeServer:
    """A process with everything in memory; `rows` stands for PostgreSQL, and None for its absence."""

    def __init__(self) -> None:
        self.rulesets = Rulesets(KEY.verify_key)
        self.rulesets.swap(document())
        self.feed = Feed(keep=3600)
        self.tokens = {"alice": Token(ALICE, grants=GRANT), "bob": Token(BOB, device="d2")}
        self.rows: dict[str, dict[str, Any]] | None = {}
        self.invites: dict[str, Any] = {}
        self.looked_up = 0
        self.clock = NOW
        self.allowed_origins: tuple[str, ...] = ()
        self.public_url = "http://rollcall.example"
        self.stream_key = b"s" * 32
        self.on_feed: list[Callable[[list[FeedRow]], None]] = []
        self.nudged = 0
        self.past_expiry = 0

    def grace(self) -> int:
        return self.past_expiry

    def nudge(self) -> None:
        self.nudged += 1

    def happen(self, *rows: FeedRow) -> None:
        """What a look at the feed does."""
        fresh = self.feed.add(rows)
        for listener in self.on_feed:
            listener(fresh)

    def read_token(self, raw: str) -> Token:
        if raw not in self.tokens:
            raise NotAuthenticated("The access token can't be read: sign in again.")
        return self.tokens[raw]

    async def read_party(self, subscriber: str) -> Mapping[str, Any] | None:
        self.looked_up += 1
        if self.rows is None:
            raise TryAgain("The database can't be reached. Try again in a moment.")
        return self.rows.get(subscriber)

    async def read_invites(self, subscriber: str) -> Mapping[str, Any] | None:
        if self.rows is None:
            raise TryAgain
        return self.invites

    def now(self) -> datetime:
        return self.clock


def phone(token: str = "alice", **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", **more}


BACK = {"X-API-Key": BACKEND}
