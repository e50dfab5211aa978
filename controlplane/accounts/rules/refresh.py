"""Refresh tokens: each is spent once and names its successor, so that a retry gets the very same answer.

The successor is a keyed hash of the token that it follows: only the control plane can make it, nothing but digests need
stand in the database, and a phone whose answer was lost asks again and gets it again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from controlplane.base import base64url

PREFIX = "rt_"
IDLE_LIFETIME = timedelta(days=60)
RETRY_WITHIN = timedelta(seconds=30)


class Outcome(StrEnum):
    ROTATE = "rotate"
    REPEAT = "repeat"
    END_DEVICE = "end_device"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Spending:
    """What is known of a token that was presented. `successor_spent` matters only for one that is spent itself."""

    expires_at: datetime
    spent_at: datetime | None
    successor_spent: bool


def decide(token: Spending, now: datetime) -> Outcome:
    """What to do with a token that was presented: a spent one is a retry for 30 s, and a theft afterwards."""
    if token.expires_at <= now:
        return Outcome.REFUSE
    if token.spent_at is None:
        return Outcome.ROTATE
    if now - token.spent_at <= RETRY_WITHIN and not token.successor_spent:
        return Outcome.REPEAT
    return Outcome.END_DEVICE


def token_of(secret: bytes) -> str:
    return PREFIX + base64url.encode(secret)


def successor(token: str, key: bytes) -> str:
    """The one token that follows upon this one."""
    return token_of(hashlib.blake2b(token.encode(), key=key, digest_size=32, person=b"rollcall refresh").digest())


def digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
