"""The feed: what changed about grants and devices lately, kept in memory so that a token's bearer is decided without a
look-up, also when the token was minted before the change.

Fed with outbox rows by a poll that overlaps; a row counts once, by its id. Kept for a token's life and its grace, also
on disk, since a token that is honoured while PostgreSQL is away must not forget a revocation when the process restarts.
"""

from __future__ import annotations

import hashlib
from bisect import insort
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

import orjson

from controlplane.base.files import write_whole
from rollout.rules.decision.decision import GrantFact
from rollout.rules.decision.person import read_grant

KINDS = ("grant.created", "grants.created", "grant.revoked", "grant.frozen", "grant.thawed", "device.revoked")
OVERLAP = 10.0  # seconds: a row may become visible later than its `created_at`
MOST_ROWS = 200_000


@dataclass(frozen=True, slots=True, order=True)
class FeedRow:
    """One outbox row. `at` is its `created_at` in seconds since 1970."""

    id: int
    kind: str
    payload: Mapping[str, Any]
    at: float


_NEEDED = ("subscriber", "feature", "grant", "source", "depth", "root", "at", "frozen", "device", "call", "window")


def feed_rows(id: int, kind: str, payload: Any, at: float) -> list[FeedRow]:
    """An outbox row, by person, with only those members that somebody needs, since many stay in memory."""
    if not isinstance(payload, dict):
        return [FeedRow(id, kind, {}, at)]
    kind = "grant.created" if kind == "grants.created" else kind
    people = by_person(payload)
    return [FeedRow(id, kind, {name: each[name] for name in _NEEDED if name in each}, at) for each in people]


def by_person(payload: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What an effect says of each person: a wave's batch is one effect, and names its `people` and their `grants`."""
    if "people" not in payload:
        return [payload]
    shared = {name: value for name, value in payload.items() if name not in ("people", "grants")}
    pairs = zip(payload["people"], payload["grants"], strict=True)
    return [{**shared, "subscriber": person, "grant": grant, "root": grant} for person, grant in pairs]


class Feed:
    """`keep` is how many seconds a row may still matter: a token's life, its grace, and the overlap."""

    def __init__(self, keep: float) -> None:
        self.keep = keep
        self.last_id = 0
        self.changed = False  # since the last save
        self._rows: dict[tuple[int, str], FeedRow] = {}
        self._by_subscriber: dict[str, list[FeedRow]] = defaultdict(list)
        self._revoked_devices: dict[str, FeedRow] = {}

    def add(self, rows: Iterable[FeedRow]) -> list[FeedRow]:
        """Remember the rows that are new, in order of their ids, and return them. Unknown kinds are left out."""
        fresh = []
        for row in sorted(rows, key=lambda row: row.id):
            subscriber = str(row.payload.get("subscriber"))
            if row.kind not in KINDS or (row.id, subscriber) in self._rows:
                continue
            fresh.append(row)
            self._rows[row.id, subscriber] = row
            self.last_id = max(self.last_id, row.id)
            insort(self._by_subscriber[subscriber], row, key=lambda row: row.id)
            if row.kind == "device.revoked":
                self._revoked_devices[str(row.payload.get("device"))] = row
        self.changed = self.changed or bool(fresh)
        return fresh

    def facts_for(self, subscriber: str, since: float) -> list[FeedRow]:
        """What changed for this subscriber since a moment (epoch seconds) less the overlap, oldest first."""
        rows = self._by_subscriber.get(subscriber)
        return [row for row in rows if row.at >= since - OVERLAP] if rows else []

    def is_revoked(self, device: str) -> bool:
        """Whether the device was revoked lately: its tokens must be refused though they have not expired."""
        return device in self._revoked_devices

    def __len__(self) -> int:
        return len(self._rows)

    def forget(self, now: float) -> int:
        """Drop what no token can be older than. Returns how many rows were dropped."""
        # Rows came in the order of their ids, so nearly in that of their times: the look ends at the first young one.
        young = now - self.keep
        old = list(takewhile(lambda row: row.at < young, self._rows.values()))
        surplus = len(self._rows) - len(old) - MOST_ROWS
        if surplus > 0:  # a revocation must not be forgotten; a grant shows at the next refresh anyway
            rest = islice(self._rows.values(), len(old), None)
            old += list(islice((row for row in rest if row.kind == "grant.created"), surplus))
        for row in old:
            subscriber = str(row.payload.get("subscriber"))
            del self._rows[row.id, subscriber]
            left = [other for other in self._by_subscriber[subscriber] if other.id != row.id]
            if left:
                self._by_subscriber[subscriber] = left
            else:
                del self._by_subscriber[subscriber]
            if row.kind == "device.revoked":
                self._revoked_devices.pop(str(row.payload.get("device")), None)
        self.changed = self.changed or bool(old)
        return len(old)

    def save(self, path: Path) -> None:
        """Keep the rows on disk. Raises OSError."""
        content = orjson.dumps(list(self._rows.values()))
        write_whole(path, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
        self.changed = False

    def restore(self, path: Path) -> int:
        """Read what `save` kept; how many rows. A missing or damaged file is nothing, never an error."""
        try:
            checksum, content = path.read_bytes().split(b"\n", 1)
            if hashlib.sha256(content).hexdigest().encode() != checksum:
                return 0
            return len(self.add(FeedRow(**raw) for raw in orjson.loads(content)))
        except (OSError, ValueError, TypeError):
            return 0


def merge(grants: Mapping[str, GrantFact], facts: Iterable[FeedRow]) -> Mapping[str, GrantFact]:
    """The live grants once the facts, in order, have happened to them."""
    merged: dict[str, GrantFact] | None = None
    for row in facts:
        payload = row.payload
        feature = payload.get("feature")
        if not isinstance(feature, str) or not row.kind.startswith("grant."):
            continue
        merged = dict(grants) if merged is None else merged
        held = merged.get(feature)
        if row.kind == "grant.created":
            merged[feature] = read_grant(payload, id_name="grant", source_name="source")
        elif held is not None and held.id == payload.get("grant"):
            if row.kind == "grant.revoked":
                del merged[feature]
            else:
                frozen = row.kind == "grant.frozen"
                merged[feature] = GrantFact(held.id, held.source, held.depth, held.root, held.at, frozen)
    return grants if merged is None else merged
