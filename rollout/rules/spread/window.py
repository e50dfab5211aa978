"""Invite windows: which verb is possible when, and the report of a closed one, put together from counted numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from rollout.rules.numbers import percentile


class WindowState(StrEnum):
    SCHEDULED = "scheduled"
    OPEN = "open"
    CLOSED = "closed"


class ActivateOn(StrEnum):
    """What of a call to somebody who hasn't the feature gives it to them."""

    ANSWERED = "answered"
    OFFERED = "offered"


class ReservationState(StrEnum):
    """Of a place that is held while a call rings; cancelled by closing the window."""

    PENDING = "pending"
    COMPLETED = "completed"
    RELEASED = "released"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


def can_open(state: WindowState) -> bool:
    """A closed window stays closed, since its report stands: opening again is another window."""
    return state is WindowState.SCHEDULED


def is_due(closes_at: datetime | None, now: datetime) -> bool:
    """Whether its closing time has come. None: it stays open until somebody closes it."""
    return closes_at is not None and closes_at <= now


def is_open(state: WindowState, closes_at: datetime | None, now: datetime) -> bool:
    """Whether invites go through it, by `rollout_window_is_open` in PostgreSQL as by this."""
    return state is WindowState.OPEN and not is_due(closes_at, now)


@dataclass(frozen=True, slots=True)
class Counted:
    """What the ledger and the measurements say about one window. `reservations` by how they ended."""

    opened_at: datetime | None
    closed_at: datetime
    places: int
    used: int
    grants: int
    announced: int
    by_depth: Mapping[int, int]
    reservations: Mapping[str, int]
    refusals: Mapping[str, int]
    peak_calls: int
    setup_ms: Sequence[int]


def report(counted: Counted) -> dict[str, Any]:
    """The window's report as JSON. `matches_ledger`: grants = places used = announcements = completed reservations."""
    times = sorted(counted.setup_ms)
    completed = counted.reservations.get("completed", 0)
    return {
        "opened_at": counted.opened_at and counted.opened_at.isoformat(),
        "closed_at": counted.closed_at.isoformat(),
        "places": counted.places,
        "activations": counted.grants,
        "by_depth": {str(depth): counted.by_depth[depth] for depth in sorted(counted.by_depth)},
        "reservations": dict(sorted(counted.reservations.items())),
        "refusals": dict(sorted(counted.refusals.items())),
        "denied": sum(counted.refusals.values()),
        "peak_calls": counted.peak_calls,
        "setup_ms": {"n": len(times), "p50": percentile(times, 0.5), "p95": percentile(times, 0.95)},
        "matches_ledger": counted.grants == counted.used == counted.announced == completed,
        "ledger": {"grants": counted.grants, "places_used": counted.used, "announced": counted.announced},
    }
