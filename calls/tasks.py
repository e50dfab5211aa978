"""How the outbox's effects reach phones. Each handler calls one action; what fails is tried again by the outbox."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from calls.actions import tell_changes, tell_grants
from controlplane.outbox.actions import Effect
from rollout.actions.doorbell import FEED, ring


def deliver_grants(effects: Sequence[Effect], *, now: datetime) -> None:
    tell_grants([effect.payload for effect in effects], now=now)
    ring(FEED, effects[-1].key)


def deliver_changes(effects: Sequence[Effect], *, now: datetime) -> None:
    tell_changes({effect.key: effect.payload for effect in effects}, now=now)
    ring(FEED, effects[-1].key)


def deliver_device_revocations(effects: Sequence[Effect], *, now: datetime) -> None:
    """The edges read them from the feed; the doorbell makes them read at once."""
    ring(FEED, effects[-1].key)
