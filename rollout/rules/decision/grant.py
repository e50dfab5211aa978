"""Grants: how one comes about, and what may become of it."""

from __future__ import annotations

from enum import StrEnum


class Source(StrEnum):
    SEED = "seed"
    WAVE = "wave"
    INVITE = "invite"
    LAUNCH = "launch"
    OPERATOR = "operator"


class GrantState(StrEnum):
    """A frozen one gives the feature, and can't bring in others; a tombstone keeps the place of somebody who left."""

    ACTIVE = "active"
    FROZEN = "frozen"
    REVOKED = "revoked"
    TOMBSTONE = "tombstone"


LIVE = (GrantState.ACTIVE, GrantState.FROZEN)  # these give the feature
