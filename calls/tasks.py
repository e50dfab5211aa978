"""How the outbox's effects reach phones. Each handler calls one action; a failure is tried again by the outbox."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from calls.actions import tell_grant, tell_revocation
from rollout.actions.doorbell import FEED, ring


def deliver_grant(payload: Mapping[str, Any], *, key: str, now: datetime) -> None:
    tell_grant(payload, now=now)
    ring(FEED, key)


def deliver_revocation(payload: Mapping[str, Any], *, key: str, now: datetime) -> None:
    tell_revocation(payload, key=key, now=now)
    ring(FEED, key)


def deliver_device_revocation(payload: Mapping[str, Any], *, key: str, now: datetime) -> None:
    """The edges read it from the feed; the doorbell makes them read at once."""
    ring(FEED, key)
